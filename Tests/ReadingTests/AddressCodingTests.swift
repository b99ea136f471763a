// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Foundation
import Testing

@Suite("An encoded address")
struct AddressCodingTests {
  private func json(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }

  private func decode<Value: Decodable>(_ type: Value.Type, _ text: String) throws -> Value {
    try JSONDecoder().decode(type, from: Data(text.utf8))
  }

  /// Numbers above 2^53 are those that JavaScript rounds.
  private static let numbers: [UInt64] = [0, 4096, 1 << 53 + 1, .max]

  @Test("is its decimal text, and is decoded from the text or a number", arguments: numbers)
  func address(_ number: UInt64) throws {
    let address = Address(rawValue: number)
    #expect(try json(["a": address]) == #"{"a":"\#(number)"}"#)
    #expect(try decode([Address].self, #"["\#(number)",\#(number)]"#) == [address, address])
  }

  @Test("is a text within the address of a shard's record, too")
  func shardAddress() throws {
    let address = ShardAddress(shard: 3, address: Address(rawValue: .max))
    let text = #"{"address":"18446744073709551615","shard":3}"#
    #expect(try json(address) == text)
    #expect(try decode(ShardAddress.self, text) == address)
    #expect(
      try decode(ShardAddress.self, #"{"address":4096,"shard":3}"#)
        == ShardAddress(shard: 3, address: Address(rawValue: 4096)))
  }

  @Test("an id of a topic is 16 digits, and is decoded from them or a number")
  func topicID() throws {
    let id = TopicID(rawValue: 0x2f)
    #expect(try json([id]) == #"["000000000000002f"]"#)
    #expect(try decode([TopicID].self, #"["000000000000002f",47]"#) == [id, id])
  }

  @Test(
    "anything else is refused",
    arguments: [#""""#, #""-1""#, "-1", "1.5", #""18446744073709551616""#, "null", "true", "[1]"])
  func refused(_ text: String) {
    #expect(throws: DecodingError.self) { try decode([Address].self, "[\(text)]") }
    #expect(throws: DecodingError.self) { try decode([TopicID].self, "[\(text)]") }
  }
}
