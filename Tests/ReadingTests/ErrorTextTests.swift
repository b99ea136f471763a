// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Foundation
import Testing

@Suite("Losses and codes in answers and logs")
struct ErrorTextTests {
  private static let range = Address(rawValue: 4096)..<Address(rawValue: .max)

  private static let losses: [(Loss, String)] = [
    (
      Loss(cause: .cleaned, addresses: range, records: 7),
      #"{"addresses":["4096","18446744073709551615"],"cause":"cleaned","records":7}"#
    ),
    (
      Loss(cause: .discarded, addresses: range, records: nil),
      #"{"addresses":["4096","18446744073709551615"],"cause":"discarded"}"#
    ),
  ]

  @Test("a loss is encoded with texts, and decoded again", arguments: losses)
  func coding(_ loss: Loss, _ text: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    #expect(String(decoding: try encoder.encode(loss), as: UTF8.self) == text)
    #expect(try JSONDecoder().decode(Loss.self, from: Data(text.utf8)) == loss)
  }

  @Test(
    "a text that is no loss is refused",
    arguments: [
      #"{"addresses":["2","1"],"cause":"cleaned"}"#, #"{"addresses":["1","2"],"cause":"eaten"}"#,
      #"{"addresses":["1"],"cause":"cleaned"}"#, #"{"addresses":["1","2"]}"#,
    ])
  func refused(_ text: String) {
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(Loss.self, from: Data(text.utf8))
    }
  }

  @Test("a cause is its name")
  func causes() {
    #expect("\(Loss.Cause.cleaned)" == "cleaned")
    #expect(Loss.Cause.damaged.rawValue == "damaged")
    #expect(Loss.Cause(rawValue: "discarded") == .discarded)
    #expect(Loss.Cause(rawValue: "eaten") == nil)
  }

  @Test("the name of a code is that of its case, without what the case carries")
  func names() {
    let loss = Loss(cause: .damaged, addresses: Self.range, records: 1)
    let plain: [QueueError.Code] = [
      .locked, .notATopic, .noSuchTopic, .unsupportedFormat, .invalidOption, .payloadTooLarge,
      .closed, .cancelled, .notARecord, .addressesExhausted, .beyondLatest, .notCoded, .noSpace,
      .syncFailed, .fileRemoved, .damagedCursor, .noSuchConsumer, .alreadyExists,
    ]
    for code in plain { #expect(code.name == "\(code)") }
    #expect(QueueError.Code.damaged(loss).name == "damaged")
    #expect(QueueError.Code.cleaned(loss).name == "cleaned")
    #expect(QueueError.Code.discarded(loss).name == "discarded")
    #expect(QueueError.Code.system(errno: 5).name == "system")
  }
}
