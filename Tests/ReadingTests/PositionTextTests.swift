// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import Testing

@Suite("The text of a position")
struct PositionTextTests {
  @Test(
    "is parsed, and is the description of the position",
    arguments: [
      ("earliest", .earliest), ("latest", .latest), ("0", .address(Address(rawValue: 0))),
      ("18446744073709551615", .address(Address(rawValue: .max))), ("ordinal:0", .ordinal(0)),
      ("ordinal:18446744073709551615", .ordinal(.max)),
    ] as [(String, Topic.Position)])
  func parsed(_ text: String, _ position: Topic.Position) {
    #expect(Topic.Position(text) == position)
    #expect("\(position)" == text)
  }

  @Test(
    "any other text is no position",
    arguments: [
      "", "Earliest", "latest ", "now", "-1", "+1", "1.5", "18446744073709551616", "ordinal:",
      "ordinal:-1", "ordinal: 1", "ordinal:18446744073709551616", "1h", "2026-11-21T12:00Z",
    ])
  func refused(_ text: String) {
    #expect(Topic.Position(text) == nil)
  }

  @Test("a time and an age are described in words that are not parsed")
  func words() {
    let age = Topic.Position.ago(.days(7))
    #expect("\(age)" == "7 days ago")
    let time = Topic.Position.time(since1970: .milliseconds(1500))
    #expect("\(time)" == "1.5 seconds after 1970-01-01T00:00:00Z")
    for position in [age, time] { #expect(Topic.Position("\(position)") == nil) }
  }
}
