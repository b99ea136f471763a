// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// What a record survives. Every call that writes documents the level that it reaches.
public enum Durability: Sendable, Hashable, Comparable, CaseIterable {
  /// The record is in this process's memory.
  ///
  /// It is lost if the process dies. `append` reaches this level.
  case buffered
  /// The operating system has the record.
  ///
  /// It survives the death of the process and is visible to readers, but a power cut loses it.
  /// `flush` reaches this level.
  case flushed
  /// The record is on stable storage. It survives a power cut. `sync` and `close` reach this level.
  case synced
}
