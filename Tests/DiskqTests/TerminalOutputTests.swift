// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueueTestSupport
import Foundation
import Testing

@Suite("Records on a terminal")
struct TerminalOutputTests {
  /// The program that runs a command on a terminal of its own. Other systems have one with other
  /// arguments.
  #if os(Linux)
    private static let script = "/usr/bin/script"
  #else
    private static let script = ""
  #endif

  /// Runs a line of shell on a terminal. `$0` is the program, and `$1` is the topic.
  private func onTerminal(_ line: String, _ topic: String) throws -> [UInt8] {
    let outcome = try Diskq.shell(
      "\(Self.script) -qec \"$(printf \"$2\" \"$0\" \"$1\")\" /dev/null", topic, line)
    #expect(outcome.status == 0)
    // The terminal ends lines with a carriage return and a newline.
    return outcome.output.filter { $0 != 13 }
  }

  @Test(
    "control characters and bytes that are not UTF-8 are escaped, unless a format is asked for",
    .enabled(if: FileManager.default.fileExists(atPath: script)))
  func escaped() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.at("topic")
    let payload = Array("é\t\u{1B}[2J\u{7F}\u{85}".utf8) + [0xFF, 0xC3, 0x28, 0]
    #expect(try Diskq.run(["append", topic], input: payload).status == 0)
    let visible = Array("é\t\\x1b[2J\\x7f\\xc2\\x85\\xff\\xc3(\\x00\n".utf8)
    #expect(try onTerminal("%s read %s", topic) == visible)
    #expect(try onTerminal("%s consume %s --consumer reader", topic) == visible)
    #expect(try onTerminal("%s read %s --format lines", topic) == payload + [10])
    // Any other output gets the bytes.
    #expect(try Diskq.run("read", topic).output == payload + [10])
  }
}
