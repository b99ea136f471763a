// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Foundation

/// The records to look up, by their numbers for the floor and by their addresses for the library.
struct Lookups {
  /// Their numbers in the log.
  var records: [UInt64] = []
  var addresses: [Address] = []

  /// Chooses records that are scattered over the log, the same ones in every run.
  ///
  /// - Parameter all: the addresses of all records.
  init(_ count: Int, of all: [Address]) {
    for index in 0..<UInt64(count) {
      let record = index * 2_654_435_761 % UInt64(all.count)
      records.append(record)
      addresses.append(all[Int(record)])
    }
  }

  init(from path: String) throws {
    let numbers = try Data(contentsOf: URL(filePath: path)).withUnsafeBytes {
      Array($0.bindMemory(to: UInt64.self))
    }
    let half = numbers.count / 2
    records = Array(numbers[..<half])
    addresses = numbers[half...].map { Address(rawValue: $0) }
  }

  func write(to path: String) throws {
    let numbers = records + addresses.map(\.rawValue)
    try numbers.withUnsafeBytes { try Data($0).write(to: URL(filePath: path)) }
  }
}
