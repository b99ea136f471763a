// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Records that a consumer holds in memory, in order. All of them share two allocations.
struct DeliveredRecords: Sendable {
  private struct RecordExtent {
    var address: UInt64
    var ordinal: UInt64
    /// The end of the payload in `bytes`.
    var end: Int
  }

  /// The payloads, one after the other.
  private var bytes: [UInt8] = []
  private var places: [RecordExtent] = []

  var count: Int { places.count }

  mutating func append(_ payload: RawSpan, address: UInt64, ordinal: UInt64) {
    // Safe: reads exactly the span's bytes.
    unsafe payload.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
    places.append(RecordExtent(address: address, ordinal: ordinal, end: bytes.count))
  }

  /// Drops the first records, and keeps the bytes of the others alone.
  mutating func removeFirst(_ count: Int) {
    guard count > 0 else { return }
    let dropped = places[count - 1].end
    bytes = Array(bytes[dropped...])
    places = places[count...].map {
      RecordExtent(address: $0.address, ordinal: $0.ordinal, end: $0.end - dropped)
    }
  }

  private func payload(_ index: Int) -> Range<Int> {
    (index == 0 ? 0 : places[index - 1].end)..<places[index].end
  }

  func frameByteCount(_ index: Int) -> Int { FrameHeader.byteCount + payload(index).count }

  /// A copy of a record.
  func record(_ index: Int) -> QueueRecord {
    let place = places[index]
    return QueueRecord(
      address: Address(rawValue: place.address), ordinal: place.ordinal,
      payload: Array(bytes[payload(index)]))
  }

  /// A record in this memory.
  @_lifetime(borrow self)
  func borrowed(_ index: Int) -> BorrowedRecord {
    let place = places[index]
    return BorrowedRecord(
      address: Address(rawValue: place.address), ordinal: place.ordinal,
      payload: bytes.span.extracting(payload(index)))
  }

  /// The end of a record, as a cursor.
  func end(of index: Int) -> CursorPosition {
    CursorPosition(
      address: places[index].address &+ UInt64(frameByteCount(index)),
      ordinal: places[index].ordinal &+ 1)
  }
}
