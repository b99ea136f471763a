// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

extension SlabFile {
  /// Makes the file of a new slab. A slab of that name must not exist.
  static func create(_ base: UInt64, in storage: any TopicStorage) throws(QueueError) -> SlabFile {
    let name = SlabName.string(base)
    let path = storage.path + "/" + name
    do throws(SystemError) {
      return SlabFile(base: base, path: path, file: try storage.create(name))
    } catch {
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

  /// Makes the first slab of an epoch, durable before it returns.
  ///
  /// Order: the caller has made everything before it durable. Make the file; write the header and
  /// the first mark; sync the file; sync the directory; only then may an address in it be handed
  /// out. Where that fails, the file is removed again: nothing was handed out in it.
  static func createFirst(
    _ header: SlabHeader, in storage: any TopicStorage
  ) throws(QueueError) -> SlabFile {
    let slab = try create(header.base, in: storage)
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
