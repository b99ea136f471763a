// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DiskQueue

/// Sends and receives through a channel, and prints each step, until it is killed.
struct ChannelKillVictim: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "channel-kill-victim", shouldDisplay: false)

  @Argument var topic: String
  @Option var life: UInt64
  @Option var seed: UInt64
  @Flag(help: "Send a little, receive all, and close.") var finishing = false

  static func start(
    _ topic: String, _ life: Int, _ seed: UInt64, finishing: Bool
  ) throws(Broken) -> Child {
    try Child(
      ["channel-kill-victim", topic, "--life", "\(life)", "--seed", "\(seed)"]
        + (finishing ? ["--finishing"] : []))
  }

  /// The life that sent a message, and the message's number in that life.
  static func parts(of message: UInt64) -> (life: UInt64, number: UInt64) {
    (message >> 32, message & 0xFFFF_FFFF)
  }

  func run() async throws {
    var options = DiskChannel.Options()
    options.writer.maximumBytes = .kibibytes(512)
    options.writer.slabSize = .kibibytes(64)
    options.acknowledgementDelay = .milliseconds(20)
    let channel = try DiskChannel(topic: Topic(topic), options: options)
    async let sending: Void = send(channel)
    try await receive(channel)
    try await sending
    try await channel.close()
  }

  private func send(_ channel: DiskChannel) async throws {
    var number: UInt64 = 0
    while !finishing || number < 1_000 {
      let message = life << 32 | number
      try await channel.send(Payload.make(message))
      Posix.say("sent \(message)")
      number += 1
    }
    channel.finish()
  }

  /// Acknowledges in order, and sometimes a few messages out of order.
  private func receive(_ channel: DiskChannel) async throws {
    var random = Random(seed: seed)
    var held: [DiskChannel.Message] = []
    var mostHeld = 0
    for try await message in channel {
      let number = try Payload.number(of: message.payload)
      Posix.say("received \(message.record.ordinal) \(number)")
      held.append(message)
      guard held.count > mostHeld else { continue }
      try await acknowledge(&held, &random)
      mostHeld = random.chance(90) ? 0 : random.below(20)
    }
    try await acknowledge(&held, &random)
  }

  private func acknowledge(
    _ held: inout [DiskChannel.Message], _ random: inout Random
  ) async throws {
    held.shuffle(using: &random)
    for message in held {
      Posix.say("acknowledges \(message.record.ordinal)")
      try message.acknowledge()
    }
    held = []
  }
}
