// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// How much a record survives. A caller always knows which level it got.
public enum Durability: Sendable, Hashable, Comparable, CaseIterable {
  /// In this process's memory: lost if the process dies. What `append` gives.
  case buffered
  /// With the operating system: survives the process, visible to readers; lost in a power cut.
  /// What `flush` gives.
  case flushed
  /// On stable storage: survives a power cut. What `sync` and `close` give.
  case synced
}
