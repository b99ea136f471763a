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
  /// - Parameters:
  ///   - target: an empty directory that nothing else uses.
  ///   - isStopped: asked before each part of a file. If it returns true, the copy ends,
  ///     unfinished.
  /// - Throws: `cancelled` after a stop. Any other error names the file of the source or of the
  ///   target, because the two may be on different disks.
  static func copy(
    _ source: any TopicStorage, to target: any TopicStorage,
    isStopped: () -> Bool = { false }
  ) throws(QueueError) {
    try copyCursors(of: source, to: target, isStopped)
    for base in try TopicIndex.slabs(in: source).reversed() {
      let name = SlabName.string(base)
      guard try copyFile(name, of: source, to: target, isStopped) else { break }
    }
    try doing("copying a topic", target.path) { () throws(SystemError) in
      try target.syncDirectory()
    }
  }

  private static func copyCursors(
    of source: any TopicStorage, to target: any TopicStorage, _ isStopped: () -> Bool
  ) throws(QueueError) {
    let consumers = try doing("copying the cursors", source.path) { () throws(SystemError) in
      try ifThere { () throws(SystemError) in try source.consumers(creating: false) }
    }
    guard let consumers else { return }
    var names: [String] = []
    // Locks are this topic's own, and an unfinished cursor belongs to no consumer: copy neither.
    try doing("copying the cursors", consumers.path) { () throws(SystemError) in
      try consumers.forEachName { if CursorName.parse($0) != nil { names.append($0) } }
    }
    let copies = try doing("copying the cursors", target.path) { () throws(SystemError) in
      try target.consumers(creating: true)
    }
    for name in names { _ = try copyFile(name, of: consumers, to: copies, isStopped) }
    try doing("copying the cursors", copies.path) { () throws(SystemError) in
      try copies.syncDirectory()
    }
  }

  /// Copies a file. False if it is gone.
  private static func copyFile(
    _ name: String, of source: any StorageDirectory, to target: any StorageDirectory,
    _ isStopped: () -> Bool
  ) throws(QueueError) -> Bool {
    func reading<Value>(_ body: () throws(SystemError) -> Value) throws(QueueError) -> Value {
      try doing("copying a file", source.path + "/" + name, body)
    }
    func writing<Value>(_ body: () throws(SystemError) -> Value) throws(QueueError) -> Value {
      try doing("copying a file", target.path + "/" + name, body)
    }
    let file = try reading { () throws(SystemError) in
      try ifThere { () throws(SystemError) in try source.open(name, writable: false) }
    }
    guard let file else { return false }
    let copy = try writing { () throws(SystemError) in try target.create(name) }
    let end = try reading { () throws(SystemError) in try file.size() }
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    var offset: UInt64 = 0
    while offset < end {
      guard !isStopped() else { throw .cancelled() }
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
      let count = try reading { () throws(SystemError) in try result.get() }
      // The file is shorter than before: a writer took back a refused record.
      guard count > 0 else { break }
      var written = 0
      while written < count {
        written += try writing { () throws(SystemError) in
          // Safe: the array outlives the call.
          let rest = unsafe buffer.span.bytes.extracting(written..<count)
          return try copy.write(rest, at: offset + UInt64(written))
        }
      }
      offset += UInt64(count)
    }
    try writing { () throws(SystemError) in try copy.sync() }
    return true
  }

  /// Nil if there is no such name.
  private static func ifThere<Value>(
    _ body: () throws(SystemError) -> Value
  ) throws(SystemError) -> Value? {
    do throws(SystemError) {
      return try body()
    } catch  where error.errno == Errno.noEntry {
      return nil
    }
  }

  private static func doing<Value>(
    _ what: String, _ path: String, _ body: () throws(SystemError) -> Value
  ) throws(QueueError) -> Value {
    do throws(SystemError) {
      return try body()
    } catch {
      throw .system(error, doing: what, path: path)
    }
  }
}
