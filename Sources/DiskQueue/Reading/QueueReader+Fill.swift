// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueReader {
  /// Replaces the elements of an array with the next records.
  ///
  /// Returns the number of replaced elements: all, or fewer at the end of the log. It replaces
  /// elements from the beginning of the array. The other elements stay unchanged. Payloads are
  /// stored in the arrays that the elements already have, if those are large enough and not shared.
  /// So reading a topic with one array needs no allocation.
  ///
  /// ```swift
  /// var records = Array(repeating: QueueRecord(), count: 500)
  /// while case let count = try reader.fill(&records), count > 0 { send(records[..<count]) }
  /// ```
  ///
  /// - Throws: As ``next()``. If records were read before the error, their number is returned, and
  ///   the next call throws the error.
  /// - Complexity: O(bytes of the records).
  public mutating func fill(_ records: inout [QueueRecord]) throws(QueueError) -> Int {
    var count = 0
    do throws(QueueError) {
      while count < records.count, try fill(&records[count]) { count += 1 }
    } catch {
      guard count > 0 else { throw error }
      walker.takeBack(error)
    }
    return count
  }

  /// Fills one record. Returns false at the end of the log.
  private mutating func fill(_ record: inout QueueRecord) throws(QueueError) -> Bool {
    guard let next = try next() else { return false }
    record.address = next.address
    record.ordinal = next.ordinal
    record.payload.removeAll(keepingCapacity: true)
    // Safe: reads exactly the span's elements.
    unsafe next.payload.withUnsafeBufferPointer { unsafe record.payload.append(contentsOf: $0) }
    return true
  }
}

extension LogWalker {
  /// Makes the next step return this error again, because it was not reported. System errors repeat
  /// by themselves.
  fileprivate mutating func takeBack(_ error: QueueError) {
    if let loss = error.loss {
      owedLoss = loss
    } else if error.code == .payloadTooLarge, let address = error.address {
      goBack(to: address.rawValue, ordinal - 1)
    }
  }
}
