// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

public import DiskQueue

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

extension Data: PayloadBytes {
  /// Calls a closure once with these bytes, without a copy.
  ///
  /// So `Data` can be appended, and can be the key of a record:
  ///
  /// ```swift
  /// import DiskQueueFoundation
  /// import Foundation
  ///
  /// let writer = try ShardedWriter(topic: ShardedTopic("orders"))
  /// let customer = Data([0, 0, 0, 17])
  /// try writer.append(Data("3 chairs".utf8), key: customer)
  /// ```
  ///
  /// - Throws: The error of `body`.
  public func withPayloadBytes<R>(
    _ body: (RawSpan) throws(QueueError) -> R
  ) throws(QueueError) -> R {
    try body(bytes)
  }
}
