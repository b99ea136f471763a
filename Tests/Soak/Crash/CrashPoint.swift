// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A point in the order of operations at which a process is killed.
struct CrashPoint: Sendable {
  enum Moment: String, Sendable {
    case before
    /// The system has half of the bytes, as if the write were cut short.
    case halfway
    case after
  }

  /// Its position in the order of operations.
  var name: String
  var moment: Moment
  var call: CrashCall

  private init(_ name: String, _ moment: Moment, _ call: CrashCall) {
    self.name = name
    self.moment = moment
    self.call = call
  }

  /// The check fails if one of them is not hit.
  static let all: [CrashPoint] =
    opening + appending + closing + consuming + cleaning

  /// For a new topic, one to be recovered, and one that was closed.
  private static let opening = [
    CrashPoint("lock taken, nothing read", .after, .lockTopic),
    CrashPoint("new topic: its own name not synced", .before, .syncParent),
    CrashPoint("new topic: its own name synced, no slab yet", .after, .syncParent),
    CrashPoint("new topic: slab created, its header not written", .after, .createFirstSlab),
    CrashPoint("new topic: half of the header written", .halfway, .writeFirstSlab),
    CrashPoint("new topic: header written, not synced", .after, .writeFirstSlab),
    CrashPoint("new topic: slab synced, directory not", .after, .syncFirstSlab),
    CrashPoint("new topic: directory synced, not reported", .after, .syncFirstName),
    CrashPoint("recovery: directory listed, not synced", .before, .syncOldNames),
    CrashPoint("recovery: directory synced, old slabs not", .after, .syncOldNames),
    CrashPoint("recovery: old slab synced, not judged", .after, .syncOldSlab),
    CrashPoint("recovery: old slab's cache dropped", .after, .dropCache),
    CrashPoint("recovery: epoch's slab not created", .before, .createEpochSlab),
    CrashPoint("recovery: epoch's slab created, its header not written", .after, .createEpochSlab),
    CrashPoint("recovery: half of the epoch's header written", .halfway, .writeEpochSlab),
    CrashPoint("recovery: epoch's header written, not synced", .after, .writeEpochSlab),
    CrashPoint("recovery: epoch's slab synced, directory not", .after, .syncEpochSlab),
    CrashPoint("recovery: directory synced, epoch not reported", .after, .syncEpochName),
    CrashPoint("clean end found, opening mark not written", .before, .writeOpeningMark),
    CrashPoint("half of the opening mark written", .halfway, .writeOpeningMark),
    CrashPoint("opening mark written, not synced", .after, .writeOpeningMark),
    CrashPoint("opening mark synced, not reported", .after, .syncOpeningMark),
  ]

  private static let appending = [
    CrashPoint("records in the buffer, not written", .before, .writeRecords),
    CrashPoint("half of the buffer written", .halfway, .writeRecords),
    CrashPoint("records written, not reported", .after, .writeRecords),
    CrashPoint("large record: its header written, its payload not", .after, .writeLargeHeader),
    CrashPoint("large record: half of its payload written", .halfway, .writeLargePayload),
    CrashPoint("large record: written, not reported", .after, .writeLargePayload),
    CrashPoint("roll: slab full, the next one not created", .before, .createNextSlab),
    CrashPoint("roll: slab created, its header not written", .after, .createNextSlab),
    CrashPoint("roll: half of the slab's beginning written", .halfway, .writeNextSlab),
    CrashPoint("roll: header written, nothing synced", .after, .writeNextSlab),
    CrashPoint("roll: before the directory is synced", .before, .syncNextName),
    CrashPoint("roll: directory synced, the left slab not", .after, .syncNextName),
    CrashPoint("before the left slab is synced", .before, .syncLeftSlab),
    CrashPoint("left slab synced, the next one not", .after, .syncLeftSlab),
    CrashPoint("records flushed, not synced", .before, .syncRecords),
    CrashPoint("records synced, not reported", .after, .syncRecords),
    CrashPoint("writer at its cap: slab not unlinked", .before, .removeByWriter),
    CrashPoint("writer at its cap: slab unlinked, directory not synced", .after, .removeByWriter),
  ]

  private static let closing = [
    CrashPoint("all synced, closing mark not written", .before, .writeClosingMark),
    CrashPoint("half of the closing mark written", .halfway, .writeClosingMark),
    CrashPoint("closing mark written, not synced", .after, .writeClosingMark),
    CrashPoint("closing mark synced, lock held", .after, .syncClosingMark),
    CrashPoint("closed, lock given up, not reported", .after, .unlockTopic),
  ]

  private static let consuming = [
    CrashPoint("consumers' directory made, no cursor in it", .after, .openConsumers),
    CrashPoint("consumer's lock taken, nothing read", .after, .lockCursor),
    CrashPoint("cursor's file made under another name, empty", .after, .createCursor),
    CrashPoint("cursor whole and synced, its name not made", .before, .nameCursor),
    CrashPoint("cursor's name made, not synced", .after, .nameCursor),
    CrashPoint("cursor's name not synced", .before, .syncCursorName),
    CrashPoint("cursor's name synced, not reported", .after, .syncCursorName),
    CrashPoint("first position not written", .before, .writeFirstPosition),
    CrashPoint("half of the first position written", .halfway, .writeFirstPosition),
    CrashPoint("first position written, not synced", .after, .writeFirstPosition),
    CrashPoint("names below the cursor synced, data not", .after, .syncNamesUnderCursor),
    CrashPoint("data below the cursor not synced", .before, .syncDataUnderCursor),
    CrashPoint("data below the cursor synced, slot not written", .after, .syncDataUnderCursor),
    CrashPoint("cursor slot not written", .before, .writeCursorSlot),
    CrashPoint("half of the cursor slot written", .halfway, .writeCursorSlot),
    CrashPoint("cursor slot written, not synced", .after, .writeCursorSlot),
    CrashPoint("cursor slot synced, not reported", .after, .syncCursor),
    CrashPoint("consumer closed, lock given up, not reported", .after, .unlockCursor),
    CrashPoint("consumer deleted: file not unlinked", .before, .removeCursor),
    CrashPoint("consumer deleted: file unlinked, directory not synced", .after, .removeCursor),
  ]

  private static let cleaning = [
    CrashPoint("cleaner: wanting proof not synced", .before, .syncForProof),
    CrashPoint("cleaner: wanting proof synced, nothing removed", .after, .syncForProof),
    CrashPoint("cleaner: directory synced, slab not unlinked", .before, .removeByCleaner),
    CrashPoint("cleaner: slab unlinked, directory not synced", .after, .removeByCleaner),
    CrashPoint("cleaner: directory synced, removal not reported", .after, .syncRemoval),
  ]
}

/// A system call, by its purpose.
enum CrashCall: Sendable {
  // Opening a topic for writing.
  case lockTopic, unlockTopic, syncParent
  case createFirstSlab, writeFirstSlab, syncFirstSlab, syncFirstName
  case createEpochSlab, writeEpochSlab, syncEpochSlab, syncEpochName
  case syncOldNames, syncOldSlab, dropCache
  case writeOpeningMark, syncOpeningMark
  // Writing.
  case writeRecords, writeLargeHeader, writeLargePayload, syncRecords
  case createNextSlab, writeNextSlab, syncNextName, syncLeftSlab
  case removeByWriter, syncNamesByWriter
  case writeClosingMark, syncClosingMark
  // Consuming.
  case openConsumers, lockCursor, unlockCursor, syncCursorName
  case createCursor, nameCursor, writeFirstPosition, syncCursor, writeCursorSlot, removeCursor
  case syncNamesUnderCursor, syncDataUnderCursor
  // Cleaning.
  case syncForProof, syncNamesByCleaner, removeByCleaner, syncRemoval
}
