// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue
import DiskQueueTestSupport
import Foundation
import Testing

/// The program as a real process, killed at random moments.
@Suite("Killed")
struct KillTests {
  /// The number of runs of one topic, each ended with SIGKILL. `DISKQUEUE_KILLS` sets another
  /// number.
  static let runs = ProcessInfo.processInfo.environment["DISKQUEUE_KILLS"].flatMap(Int.init) ?? 200

  @Test("G1, G4: what was printed as synced reads back, and no address ever names two records")
  func appendKilledAtRandomMoments() throws {
    let directory = try TemporaryDirectory()
    let topic = directory.path + "/topic"
    var random = SeededGenerator(seed: UInt64.random(in: 0...UInt64.max))
    let seed = "\(random)"
    var acknowledged: [UInt64: String] = [:]
    var unanswered = 0
    for run in 0..<Self.runs {
      let program = try RunningDiskq(
        "append", topic, "--ensure", "synced", "--print-addresses", "--slab-size", "16KiB")
      var written: [String] = []
      var printed: [UInt64] = []
      func write(_ count: Int) throws {
        let lines = (0..<count).map { "run \(run) record \(written.count + $0)" }
        written += lines
        try program.write(lines.map { $0 + "\n" }.joined())
      }
      func note(_ line: String) throws {
        printed.append(try #require(UInt64(line), "not an address: \(line)"))
      }
      // Some rounds are answered. The kill may come before, in or after the last round.
      for _ in 0..<random.below(4) {
        try write(1 + random.below(30))
        while printed.count < written.count {
          try note(try #require(try program.readLine(), "ended by itself, seed \(seed)"))
        }
      }
      try write(1 + random.below(60))
      var spins = random.below(200_000)
      while spins > 0 { spins -= 1 }
      program.send(SIGKILL)
      while let line = try program.readLine() { try note(line) }
      unanswered += written.count - printed.count
      for (address, text) in zip(printed, written) {
        #expect(acknowledged[address] == nil, "address \(address) names two records, seed \(seed)")
        acknowledged[address] = text
      }
      let outcome = try program.outcome()
      #expect(outcome.status == 128 + SIGKILL)
    }

    var reader = try QueueReader(topic: Topic(topic))
    for (address, text) in acknowledged {
      let found = try reader.record(at: Address(rawValue: address)).text
      #expect(found == text, "address \(address), seed \(seed)")
    }
    let all = try readAll(Topic(topic))
    #expect(all.losses == [])
    #expect(Set(all.records.map(\.address)).count == all.records.count)
    #expect(Set(all.texts).count == all.records.count, "a record stands twice, seed \(seed)")
    let verified = try Diskq.run("verify", topic)
    #expect(verified.status == 0, "\(verified.text) \(verified.errors)")
    print(
      "\(Self.runs) kills: \(acknowledged.count) records acknowledged, \(unanswered) unanswered,"
        + " \(all.records.count) read back")
  }
}
