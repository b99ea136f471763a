// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

#if canImport(FoundationEssentials)
  public import FoundationEssentials
#else
  public import Foundation
#endif

extension Data {
  /// Copies the payload of a borrowed record.
  ///
  /// ```swift
  /// import DiskQueueFoundation
  /// import Foundation
  ///
  /// var reader = try QueueReader(topic: "sensors")
  /// while let record = try reader.next() {
  ///   let data = Data(record.payload)
  ///   try data.write(to: URL(filePath: "\(record.address)"))
  /// }
  /// ```
  ///
  /// The payload of a `QueueRecord` is an array, from which `Data` has an initializer of its own.
  ///
  /// - Complexity: O(payload).
  public init(_ payload: Span<UInt8>) {
    self = payload.withUnsafeBufferPointer { Data($0) }
  }
}
