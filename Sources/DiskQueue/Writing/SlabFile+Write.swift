// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension SlabFile {
  /// Makes the file of a new slab. A slab of that name must not exist.
  ///
  /// - Throws: `unsupportedFormat` if it exists and states another topic; else `system`.
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

  /// Writes all of `bytes` at an address, going on where a short write stopped. Reports how many
  /// were written before it failed.
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

  /// Makes what was written durable. A failure is final: nothing here asks twice.
  func sync() throws(QueueError) {
    do throws(SystemError) {
      try file.sync()
    } catch {
      throw .syncFailed(error, path: path)
    }
  }

  /// Throws if the slab's name does not lead to this file any more, unless a cleaner has removed it.
  ///
  /// - Parameter stamp: as `HeldName` takes it.
  func checkName(
    in storage: any TopicStorage, at stamp: NamesStamp? = nil
  ) throws(QueueError) {
    // In memory, no name changes but by this program's own calls.
    guard storage.mayBlock else { return }
    try heldName?.check(in: storage, at: stamp) { () throws(SystemError) in
      try mayBeCleaned(storage)
    }
  }

  /// Whether a cleaner may have removed the slab. Cleaners remove the first slab and never the last
  /// one, and may prove by themselves that a slab is durable that its writer has yet to sync.
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

  /// Makes the first slab of an epoch, durable before it returns.
  ///
  /// Order: the caller has made everything before it durable. Make the file; write the header and
  /// the first mark; sync the file; sync the directory; check that the name leads to the file; only
  /// then may an address in it be handed out. If a step before the check fails, the file is removed
  /// again: nothing was handed out in it.
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
        // It stays, unfinished: its name counts for the next epoch, and readers pass it over.
      }
      throw error
    }
    try slab.checkName(in: storage)
    return slab
  }
}

extension SlabHeader {
  /// The first mark of the slab: says again what the header says.
  var copy: Mark {
    Mark(stamp: stamp, ordinal: ordinal, synced: synced, kept: kept, topicID: topicID)
  }
}

extension TopicStorage {
  /// Makes the names in the topic durable; a failure is as final as a file's.
  func syncNames() throws(QueueError) {
    do throws(SystemError) {
      try syncDirectory()
    } catch {
      throw .syncFailed(error, path: path)
    }
  }
}
