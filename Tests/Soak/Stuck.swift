// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// Fails like a check whose victim is silent, so that the output of that case can be examined.
struct Stuck: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "stuck", shouldDisplay: false)

  @Argument var topic: String

  func run() throws {
    let victim = try Child(["stuck-victim", topic])
    _ = try victim.answer("the victim does not open the topic")
    _ = try victim.answer(within: 500, "the victim is silent")
  }
}

/// Opens a topic, and does nothing more.
struct StuckVictim: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stuck-victim", shouldDisplay: false)

  @Argument var topic: String

  func run() throws {
    let writer = try QueueWriter(topic: Topic(topic))
    Posix.say("opened")
    waitForever()
    try writer.close()
  }

  @inline(never)
  private func waitForever() { while true { Posix.sleep(microseconds: 1_000_000_000) } }
}
