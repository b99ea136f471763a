// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Testing

@testable import diskq

@Suite("Help")
struct HelpTests {
  @Test("without arguments the program prints a short help with examples and all commands")
  func noArguments() throws {
    let short = try Diskq.run()
    #expect(short.status == 0 && short.errors.isEmpty)
    for command in diskq.Diskq.configuration.subcommands {
      #expect(short.lines.contains { $0.hasPrefix("  \(command._commandName) ") })
    }
    #expect(short.lines.contains("  diskq read queue"))
    let long = try Diskq.run("help")
    #expect(long.text.contains("The exit status is 0") && !short.text.contains("The exit status"))
  }
}
