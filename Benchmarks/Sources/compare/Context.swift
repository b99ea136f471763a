// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Harness

/// The environment of the rows.
struct Context {
  let scratch: Scratch
  let fileSystem: String
  let peers: [Peer]
  let isLong: Bool
  /// How many times each contestant runs, if the user said so.
  let repeats: Int?

  init(scratch: Scratch, peers: [Peer], isLong: Bool, repeats: Int?) {
    self.scratch = scratch
    fileSystem = Machine.fileSystem(of: scratch.path)
    self.peers = peers
    self.isLong = isLong
    self.repeats = repeats
  }

  /// How many rounds contestants run: those of the row, or those that the user asked for. On tmpfs,
  /// fewer rounds suffice, because the figures are steady sooner without a disk.
  func rounds(_ rounds: Rounds) -> Rounds {
    guard let repeats else {
      guard fileSystem == "tmpfs" else { return rounds }
      return Rounds(
        least: min(rounds.least, 5), most: rounds.most, seconds: rounds.seconds / 2,
        peers: min(rounds.peers, 2))
    }
    return Rounds(least: repeats, most: repeats, seconds: 0, peers: min(repeats, rounds.peers))
  }

  /// Reports the current step on standard error. Standard output is for the table.
  func progress(_ text: String) { say("  \(text) [\(fileSystem)]") }
}

/// Prints a line on standard error.
func say(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }

/// A payload to write. It is the same in every run, and a compressor cannot make it shorter.
func makePayload(_ bytes: Int) -> [UInt8] {
  var generator = Random(seed: 1)
  return (0..<bytes).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
}

/// SplitMix64, which gives the same numbers in every run.
struct Random: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// The sizes of payloads in the throughput rows.
enum PayloadSize {
  static let all = [20, 100, 1 << 10, 16 << 10]

  static func name(_ bytes: Int) -> String {
    bytes < 1 << 10 ? "\(bytes) B" : "\(bytes >> 10) KiB"
  }

  /// 2 M records or 512 MiB, whichever is less. The bound keeps write-back from deciding the
  /// figures. The number is a multiple of 800: of eight threads, and of batches of 100.
  static func records(_ bytes: Int) -> Int { min(2_000_000, (512 << 20) / bytes) / 800 * 800 }
}
