// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// What is measured together.
enum Row: String, CaseIterable, ExpressibleByArgument {
  case append, batches, read, threads

  var title: String {
    switch self {
    case .append: "append, one thread: 20 B, 100 B, 1 KiB, 16 KiB; floor and peers"
    case .batches: "append of batches of 100, same sizes; floor"
    case .read: "read in order, without copy and owned, same sizes; floor and peers"
    case .threads: "append by 2, 4 and 8 threads on one writer, 100 B"
    }
  }

  /// Whether it does not wait for the disk, and so is run on tmpfs as well.
  var isOfPageCache: Bool {
    switch self {
    case .append, .batches, .read, .threads: true
    }
  }

  func measure(_ context: Context) async throws -> [Line] {
    switch self {
    case .append: try await Append.one(context)
    case .batches: try await Append.batches(context)
    case .read: try await Read.inOrder(context)
    case .threads: try await Append.threads(context)
    }
  }
}
