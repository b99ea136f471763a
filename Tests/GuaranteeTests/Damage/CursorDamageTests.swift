// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Testing

@Suite("G10, G14: a damaged cursor falls back one acknowledgement, or says that it is damaged")
struct CursorDamageTests {
  /// A topic of 40 records, and the file of a consumer that acknowledged 10, and then 20.
  ///
  /// Generation 2, in the first slot, states 10. Generation 3, in the second slot, states 20.
  private func acknowledged(
    _ environment: Environment = .simulated()
  ) async throws -> (SimulatedStorage, cursor: [UInt8]) {
    let storage = SimulatedStorage()
    let topic = Topic(storage: storage)
    let writer = try QueueWriter(
      topic: topic, options: SmallTopic.options, environment: environment)
    for number in 0..<40 { try writer.append(ConsumerTopic.text(number)) }
    try await writer.close()
    let consumer = try ConsumerTopic.consumer(topic)
    for _ in 0..<2 { try await consumer.nextBatch(upTo: 10)?.acknowledge() }
    try await consumer.close()
    return (storage, try topic.cursor("reader"))
  }

  private enum Outcome: Equatable {
    case stands(UInt64)
    case fails(QueueError.Code)
  }

  /// The result of opening the consumer. If opening fails, the file must be unchanged.
  private func outcome(_ storage: SimulatedStorage, _ cursor: [UInt8]) throws -> Outcome {
    let topic = Topic(storage: storage)
    try topic.putCursor("reader", cursor)
    do {
      let consumer = try ConsumerTopic.consumer(topic, from: .ordinal(33))
      defer { try? consumer.close() }
      return .stands(consumer.ordinal)
    } catch let error as QueueError {
      guard try topic.cursor("reader") == cursor else { throw Complaint("the file was changed") }
      return .fails(error.code)
    }
  }

  private func faults(
    _ name: String, _ storage: SimulatedStorage, count: Int, sampled: Int,
    _ change: @Sendable (Int) -> ([UInt8], Outcome)
  ) -> [String] {
    Exhaustive.faults(
      name, count: count, sampled: sampled, on: storage
    ) { storage, number in
      let (bytes, expected) = change(number)
      let outcome = try outcome(storage, bytes)
      return outcome == expected ? nil : "\(outcome), not \(expected)"
    }
  }

  @Test("every bit flipped, of the slots and of the zeros between")
  func everyBit() async throws {
    let (storage, cursor) = try await acknowledged()
    let faults = faults("a cursor's bits", storage, count: cursor.count * 8, sampled: 1009) { bit in
      var bytes = cursor
      bytes[bit / 8] ^= 1 << UInt8(bit % 8)
      // A bit in the newest slot falls back to the older slot. A bit elsewhere changes nothing.
      return (bytes, .stands((4096..<4160).contains(bit / 8) ? 10 : 20))
    }
    #expect(faults == [])
  }

  @Test("a bit of each slot flipped: it says that it is damaged, never where it is not")
  func bothSlots() async throws {
    let (storage, cursor) = try await acknowledged()
    let faults = faults("bits of both slots", storage, count: 512 * 512, sampled: 5003) { number in
      let bits = (number / 512, 4096 * 8 + number % 512)
      var bytes = cursor
      bytes[bits.0 / 8] ^= 1 << UInt8(bits.0 % 8)
      bytes[bits.1 / 8] ^= 1 << UInt8(bits.1 % 8)
      return (bytes, .fails(.damagedCursor))
    }
    #expect(faults == [])
  }

  @Test("cut at every length")
  func everyLength() async throws {
    let (storage, cursor) = try await acknowledged()
    let faults = faults("a cursor's lengths", storage, count: cursor.count, sampled: 227) {
      length in
      let expected: Outcome =
        switch length {
        // Never written: the consumer begins at the position that its caller chose.
        case 0: .stands(33)
        case 1..<64: .fails(.damagedCursor)
        case 64..<4160: .stands(10)
        default: .stands(20)
        }
      return (Array(cursor[..<length]), expected)
    }
    #expect(faults == [])
  }

  @Test("slots that changed places, stand in both, or are another topic's")
  func slots() async throws {
    let (storage, cursor) = try await acknowledged()
    let (_, foreign) = try await acknowledged(.simulated(seed: 99))
    #expect(cursor != foreign)
    var swapped = cursor
    swapped.replaceSubrange(0..<4096, with: cursor[4096...])
    swapped.replaceSubrange(4096..., with: cursor[..<4096])
    #expect(try outcome(storage, swapped) == .fails(.damagedCursor))
    // A slot with a generation that belongs in the other slot is damaged.
    for (from, to, ordinal) in [(0, 4096, UInt64(10)), (4096, 0, 20)] {
      var twice = cursor
      twice.replaceSubrange(to..<to + 4096, with: cursor[from..<from + 4096])
      #expect(try outcome(storage, twice) == .stands(ordinal))
    }
    #expect(try outcome(storage, foreign) == .fails(.unsupportedFormat))
    for slot in [0, 4096] {
      // One slot is another topic's: the older one, or the newest one, which would be used.
      var mixed = cursor
      mixed.replaceSubrange(slot..<slot + 4096, with: foreign[slot..<slot + 4096])
      #expect(
        try outcome(storage, mixed) == (slot == 0 ? .stands(20) : .fails(.unsupportedFormat)))
    }
  }
}
