// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// A bar on the terminal for long work. It shows nothing if standard error is no terminal.
final class ProgressBar {
  private static let width = 30
  private static let interval = Duration.milliseconds(100)

  /// Whether there is a terminal to draw on.
  static var isPossible: Bool { System.isTerminal(System.standardError) }

  private let total: UInt64
  private let totalText: String
  private let isShown: Bool
  private var isDrawn = false
  private var lastDrawn = ContinuousClock.now

  /// - Parameters:
  ///   - total: how many bytes there are to work through, or 0 for no bar.
  ///   - text: the text for `total`, if it counts something other than bytes.
  init(total: UInt64, called text: String? = nil) {
    self.total = total
    totalText = text ?? HumanSize.text(total)
    isShown = total > 0 && ProgressBar.isPossible
  }

  /// Shows how much is done, at most ten times a second.
  func update(_ done: UInt64) {
    guard isShown, lastDrawn.duration(to: .now) >= ProgressBar.interval else { return }
    lastDrawn = .now
    isDrawn = true
    let part = Double(min(done, total)) / Double(total)
    let filled = Int(part * Double(ProgressBar.width))
    let bar =
      String(repeating: "#", count: filled)
      + String(repeating: " ", count: ProgressBar.width - filled)
    Messages.write(
      "\r[\(bar)] \(Int(part * 100))% of \(totalText)\u{1B}[K")
  }

  /// Erases the bar, before a message or at the end.
  func clear() {
    guard isDrawn else { return }
    isDrawn = false
    Messages.write("\r\u{1B}[K")
  }

  /// Writes a message in place of the bar. The next update draws the bar again.
  func say(_ sentence: String) {
    clear()
    Messages.say(sentence)
  }
}
