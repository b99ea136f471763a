// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension QueueReader {
  /// Replaces the elements of an array by the next records, from its beginning on; returns how many
  /// were replaced: all of them, or fewer at the end of the log. The others stay as they were.
  ///
  /// Payloads go into the arrays that the elements have, where those are large enough and nobody else
  /// holds them: going through a topic with one array takes no allocation.
  ///
  /// ```swift
  /// var records = Array(repeating: QueueRecord(), count: 500)
  /// while case let count = try reader.fill(&records), count > 0 { send(records[..<count]) }
  /// ```
  ///
  /// - Throws: as ``next()``. Where something was read before that, it is returned, and the next call
  ///   throws what there is to tell.
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

  /// False: it is the end of the log.
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
  /// The error was told to nobody: the next step comes to it again. Errors of the system's do so by
  /// themselves.
  fileprivate mutating func takeBack(_ error: QueueError) {
    if let loss = error.loss {
      owedLoss = loss
    } else if error.code == .payloadTooLarge, let address = error.address {
      goBack(to: address.rawValue, ordinal - 1)
    }
  }
}
