// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension SlabFile {
  /// Makes the file of a new slab. A slab of that name must not exist.
  ///
  /// - Throws: `unsupportedFormat` if it exists and states another topic. Otherwise `system`.
  static func create(
    _ base: UInt64, in storage: any TopicStorage, topicID: UInt64? = nil
  ) throws(QueueError) -> SlabFile {
    let name = SlabName.string(base)
    let path = storage.path + "/" + name
    do throws(SystemError) {
      let file = try storage.create(name)
      return SlabFile(
        base: base, path: path, file: file, heldName: try HeldName(name, leadingTo: file))
    } catch {
      if error.errno == Errno.exists {
        try SlabFile.open(base, in: storage)?.refuse(unlessOf: topicID)
      }
      throw .system(error, doing: "making a slab", path: path, address: base)
    }
  }

  /// Writes all of `bytes` at an address. After a short write, it goes on at the next byte.
  /// `written` says how many bytes were written before a failure.
  func write(
    _ bytes: RawSpan, at address: UInt64, written: inout Int
  ) throws(QueueError) {
    while written < bytes.byteCount {
      do throws(SystemError) {
        written += try file.write(
          bytes.extracting(droppingFirst: written), at: address - base + UInt64(written))
      } catch {
        throw .system(
          error, doing: "writing a slab", path: path, address: address + UInt64(written))
      }
    }
  }

  /// Makes all written bytes durable. A failure is final: a failed sync is never retried.
  func sync() throws(QueueError) {
    do throws(SystemError) {
      try file.sync()
    } catch {
      throw .syncFailed(error, path: path)
    }
  }

  /// Throws if the slab's name no longer leads to this file, unless a cleaner has removed it.
  ///
  /// - Parameter stamp: see `HeldName`.
  func checkName(
    in storage: any TopicStorage, at stamp: NamesStamp? = nil
  ) throws(QueueError) {
    // In memory, only this program's own calls change a name.
    guard storage.mayBlock else { return }
    try heldName?.check(in: storage, at: stamp) { () throws(SystemError) in
      try mayBeCleaned(storage)
    }
  }

  /// Whether a cleaner may have removed the slab. Cleaners remove the first slab, and never the
  /// last one. They may prove by themselves that a slab is durable before its writer has synced it.
  private func mayBeCleaned(_ storage: any TopicStorage) throws(SystemError) -> Bool {
    var hasOlder = false
    var hasNewer = false
    try storage.forEachName { name in
      guard let other = SlabName.parse(name) else { return }
      if other < base { hasOlder = true }
      if other > base { hasNewer = true }
    }
    return hasNewer && !hasOlder
  }

  /// Makes the first slab of an epoch. It is durable before this returns.
  ///
  /// Order: the caller has made everything before it durable. Then:
  /// 1. Make the file.
  /// 2. Write the header and the first mark.
  /// 3. Sync the file.
  /// 4. Sync the directory.
  /// 5. Check that the name leads to the file.
  ///
  /// Only then may an address in it be handed out. If a step before the check fails, the file is
  /// removed again: nothing was handed out in it.
  static func createFirst(
    _ header: SlabHeader, in storage: any TopicStorage
  ) throws(QueueError) -> SlabFile {
    let slab = try create(header.base, in: storage, topicID: header.topicID)
    do throws(QueueError) {
      var beginning = WriteBuffer(capacity: SlabHeader.byteCount + Mark.byteCount)
      beginning.put(header)
      beginning.put(header.copy, at: header.base + UInt64(SlabHeader.byteCount))
      var written = 0
      try slab.write(beginning.bytes, at: header.base, written: &written)
      try slab.sync()
      try storage.syncNames()
    } catch {
      do throws(SystemError) {
        try storage.remove(SlabName.string(header.base))
      } catch {
        // It stays, unfinished. Its name counts for the next epoch, and readers pass it over.
      }
      throw error
    }
    try slab.checkName(in: storage)
    return slab
  }
}

extension SlabHeader {
  /// The first mark of the slab, which repeats the statements of the header.
  var copy: Mark {
    Mark(stamp: stamp, ordinal: ordinal, synced: synced, kept: kept, topicID: topicID)
  }
}

extension TopicStorage {
  /// Makes the names in the topic durable. A failure is as final as that of a file's sync.
  func syncNames() throws(QueueError) {
    do throws(SystemError) {
      try syncDirectory()
    } catch {
      throw .syncFailed(error, path: path)
    }
  }
}
