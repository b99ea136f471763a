// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation

extension Double {
  /// With so many significant digits, rounded half away from zero: "3,900", "0.75", "1.40".
  package func text(digits: Int) -> String { text(.significantDigits(digits)) }

  /// As the tables show it: three significant digits, and the whole of a larger number.
  package var text: String {
    let decimals =
      switch abs(self) {
      case 100...: 0
      case 10...: 1
      default: 2
      }
    return text(.fractionLength(decimals))
  }

  private func text(_ precision: NumberFormatStyleConfiguration.Precision) -> String {
    formatted(
      .number.precision(precision).rounded(rule: .toNearestOrAwayFromZero)
        .locale(Locale(identifier: "en_US")))
  }
}
