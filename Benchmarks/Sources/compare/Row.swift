// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Report

/// A group of lines that are measured together.
enum Row: String, CaseIterable, ExpressibleByArgument {
  case append, batches, read, threads, synced, tasks, endtoend, random, opening, verify, damage
  case growth, memory, bytes, inmemory

  var title: String {
    switch self {
    case .append: "append, one thread: 20 B, 100 B, 1 KiB, 16 KiB (floor and peers)"
    case .batches: "append of batches of 100, same sizes (floor)"
    case .read: "read in order, without copy and owned, same sizes (floor and peers)"
    case .threads: "append by 2, 4 and 8 threads on one writer, 100 B"
    case .synced: "synced append, one caller, 100 B (write + fdatasync and peers)"
    case .tasks: "synced appends, 64 at once, 100 B (peers with 64 threads)"
    case .endtoend: "append in one task, receive in another, 100 B, and waking a task that waits"
    case .random: "random reads by address, 100 B of 256 MiB, and of 1 GiB with --long"
    case .opening: "opening, clean and unclean: 10 MB, 256 MiB, and with --long 1 GiB, 10 GiB"
    case .verify: "diskq verify, 100 B, 512 MiB, and with --long 1 GiB (the floor's read)"
    case .damage: "reading over 64 MiB of random bytes and text, less of samples and numbers"
    case .growth: "the next 2 MiB at 1 MiB, 16 MiB, 256 MiB, and with --long 1 GiB, 10 GiB"
    case .memory: "peak resident, writer and reader: 1 MiB, 512 MiB, and with --long 10 GiB"
    case .bytes: "bytes in the files for a byte of payload, 20 B and 1 KiB (floor and peers)"
    case .inmemory: "in memory, 32 B: append and read by 1 to 8 threads (floor), waking, idling"
    }
  }

  /// Whether it does not wait for the disk. Such a row also runs on tmpfs.
  var isOfPageCache: Bool {
    switch self {
    case .append, .batches, .read, .threads, .random: true
    default: false
    }
  }

  func measure(_ context: Context) async throws -> [Line] {
    switch self {
    case .append: try await Append.one(context)
    case .batches: try await Append.batches(context)
    case .read: try await Read.inOrder(context)
    case .threads: try await Append.threads(context)
    case .synced: try await Synced.oneCaller(context)
    case .tasks: try await Synced.manyCallers(context)
    case .endtoend: try await EndToEnd.all(context)
    case .random: try await RandomReads.byAddress(context)
    case .opening: try await Opening.all(context)
    case .verify: try await Verify.all(context)
    case .damage: try await Damage.all(context)
    case .growth: try await Growth.all(context)
    case .memory: try await Memory.all(context)
    case .bytes: try await Bytes.all(context)
    case .inmemory: try await InMemory.all(context)
    }
  }
}
