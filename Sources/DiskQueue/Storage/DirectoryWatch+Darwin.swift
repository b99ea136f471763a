// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  /// The kernel's side of the watches: kqueue.
  ///
  /// A directory reports the names made and removed in it, but not the writes to its files. So the
  /// newest slab is watched as well, the only file that is written to. When the directory reports a
  /// change, the slab that is the newest then replaces it.
  struct ChangeSource {
    let queue: Int32
    /// The descriptor of the newest slab, by the number of the directory's own descriptor.
    private var slabs: [Int32: Int32] = [:]

    init() throws(SystemError) { queue = try Syscalls.makeChangeQueue() }

    /// Opens the directory again for each watch. The number of that descriptor is the watch's key.
    mutating func add(_ directory: Int32, path: String) throws(SystemError) -> Int32 {
      let own = try Syscalls.openForEvents(inDirectory: directory, ".")
      do throws(SystemError) {
        try Syscalls.watch(own, in: queue)
      } catch {
        Syscalls.closeFile(own)
        throw error
      }
      settle(own)
      return own
    }

    mutating func remove(_ key: Int32) {
      // Closing a descriptor removes it from the queue.
      if let slab = slabs.removeValue(forKey: key) { Syscalls.closeFile(slab) }
      Syscalls.closeFile(key)
    }

    /// Watches the slab that is the newest now. If that fails, for example because the slab is gone
    /// again, names are still reported.
    mutating func settle(_ key: Int32) {
      var newest: (base: UInt64, name: String)?
      try? Syscalls.forEachName(inDirectory: key) { name in
        guard let base = SlabName.parse(name), base >= newest?.base ?? 0 else { return }
        newest = (base, name)
      }
      guard let newest, let slab = try? Syscalls.openForEvents(inDirectory: key, newest.name) else {
        return
      }
      guard (try? Syscalls.watch(slab, in: queue)) != nil else {
        Syscalls.closeFile(slab)
        return
      }
      if let old = slabs.updateValue(slab, forKey: key) { Syscalls.closeFile(old) }
    }

    /// The directory that an event is about: the event names the directory's descriptor, or its
    /// slab's.
    func directory(of changed: Int32) -> Int32 {
      slabs.first { $0.value == changed }?.key ?? changed
    }
  }

  /// Waits for events, one at a time.
  struct ChangeReader {
    private let queue: Int32

    init(_ queue: Int32) { self.queue = queue }

    mutating func next() throws(SystemError) -> DirectoryChanges {
      DirectoryChanges(directories: [try Syscalls.nextChange(in: queue)])
    }
  }
#endif
