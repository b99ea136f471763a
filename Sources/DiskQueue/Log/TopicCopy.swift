// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Copies the files of a topic unchanged: the same addresses, ordinals, cursors and damage.
enum TopicCopy {
  /// Makes a durable copy of at least everything that was handed over before the call. Meanwhile,
  /// any number of programs may write, read and clean the source.
  ///
  /// Order:
  /// 1. The cursors, so that none is ahead of the records.
  /// 2. The slabs, the newest first, so that slabs cleaned meanwhile leave no hole.
  /// 3. The names.
  ///
  /// - Parameter target: an empty directory that nothing else uses.
  static func copy(
    _ source: any TopicStorage, to target: any TopicStorage
  ) throws(QueueError) {
    try copyCursors(of: source, to: target)
    for base in try TopicIndex.slabs(in: source).reversed() {
      let name = SlabName.string(base)
      guard try copyFile(name, of: source, to: target) else { break }
    }
    do throws(SystemError) {
      try target.syncDirectory()
    } catch {
      throw .system(error, doing: "copying a topic", path: target.path)
    }
  }

  private static func copyCursors(
    of source: any TopicStorage, to target: any TopicStorage
  ) throws(QueueError) {
    do throws(SystemError) {
      let consumers: any StorageDirectory
      do throws(SystemError) {
        consumers = try source.consumers(creating: false)
      } catch  where error.errno == Errno.noEntry {
        return
      }
      var names: [String] = []
      // Locks are this topic's own, and an unfinished cursor belongs to no consumer: copy neither.
      try consumers.forEachName { if CursorName.parse($0) != nil { names.append($0) } }
      let copies = try target.consumers(creating: true)
      for name in names { try copyFile(name, of: consumers, to: copies) }
      try copies.syncDirectory()
    } catch {
      throw .system(error, doing: "copying the cursors", path: source.path)
    }
  }

  /// Copies a slab. False if the slab is gone.
  private static func copyFile(
    _ name: String, of source: any TopicStorage, to target: any TopicStorage
  ) throws(QueueError) -> Bool {
    do throws(SystemError) {
      return try copyFile(name, of: source as any StorageDirectory, to: target)
    } catch {
      throw .system(error, doing: "copying a slab", path: source.path + "/" + name)
    }
  }

  @discardableResult
  private static func copyFile(
    _ name: String, of source: any StorageDirectory, to target: any StorageDirectory
  ) throws(SystemError) -> Bool {
    let file: any StorageFile
    do throws(SystemError) {
      file = try source.open(name, writable: false)
    } catch  where error.errno == Errno.noEntry {
      return false
    }
    let copy = try target.create(name)
    let end = try file.size()
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    var offset: UInt64 = 0
    while offset < end {
      let most = Int(min(end - offset, UInt64(buffer.count)))
      let result = unsafe buffer.withUnsafeMutableBytes { target in
        do throws(SystemError) {
          // Safe: a part of the buffer.
          return Result<Int, SystemError>.success(
            unsafe try file.read(
              into: UnsafeMutableRawBufferPointer(rebasing: target[..<most]), at: offset))
        } catch {
          return .failure(error)
        }
      }
      let count = try result.get()
      // The file is shorter than before: a writer took back a refused record.
      guard count > 0 else { break }
      var written = 0
      while written < count {
        // Safe: the array outlives the call.
        let rest = unsafe buffer.span.bytes.extracting(written..<count)
        written += try copy.write(rest, at: offset + UInt64(written))
      }
      offset += UInt64(count)
    }
    try copy.sync()
    return true
  }
}
