// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import DiskQueue

/// A file, as the system caches it and as the disk stores it.
///
/// A disk writes whole sectors of 512 bytes. Between two syncs it may write any of them, in any
/// order. If the file grew and a sector did not reach the disk, the sector holds zeros, or bytes of
/// another file that used it before.
package struct SimulatedFile: Sendable {
  package static let sector = 512

  /// The bytes that a reader sees.
  package private(set) var cached: [UInt8] = []
  /// The bytes that are certainly on the disk if the power fails now.
  package private(set) var durable: [UInt8] = []
  /// Sectors written since the last sync.
  private var dirty: Set<Int> = []
  /// Sectors that a failed sync gave up. They are cached and count as clean, but are not on the
  /// disk.
  private var lost: Set<Int> = []
  /// How many syncs failed. As on Linux, each handle that was open at a failure reports it at its
  /// next sync. A handle that is opened later does not, because the failure was already reported.
  private(set) var failures = 0

  init() {}

  /// A file whose bytes are all on the disk.
  init(durable: [UInt8]) {
    self.cached = durable
    self.durable = durable
  }

  var size: Int { cached.count }

  mutating func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
    guard !bytes.isEmpty else { return }
    let end = offset + bytes.count
    if end > cached.count {
      // Sectors that the write skips are zero in the cache, whatever the disk holds there.
      for sector in cached.count / Self.sector..<max(offset, cached.count) / Self.sector {
        dirty.insert(sector)
      }
      cached += [UInt8](repeating: 0, count: end - cached.count)
    }
    cached.withUnsafeMutableBytes { target in
      UnsafeMutableRawBufferPointer(rebasing: target[offset..<end]).copyMemory(from: bytes)
    }
    for sector in (offset / Self.sector)...((end - 1) / Self.sector) {
      dirty.insert(sector)
      lost.remove(sector)
    }
  }

  /// Until the next sync, the disk may still hold the bytes that are cut off here.
  mutating func truncate(to size: Int) {
    guard size < cached.count else { return }
    cached.removeLast(cached.count - size)
    let sectors = (size + Self.sector - 1) / Self.sector
    dirty = dirty.filter { $0 < sectors }
    lost = lost.filter { $0 < sectors }
  }

  private static func bytes(of sector: Int, below size: Int) -> Range<Int> {
    let start = min(sector * self.sector, size)
    return start..<min(start + self.sector, size)
  }

  /// Copies a sector's cached bytes to the disk, up to the end of the file on the disk.
  private mutating func putOnDisk(_ sector: Int) {
    let range = Self.bytes(of: sector, below: min(cached.count, durable.count))
    durable.replaceSubrange(range, with: cached[range])
  }

  private mutating func resizeOnDisk(_ size: Int) {
    if size > durable.count {
      durable += [UInt8](repeating: 0, count: size - durable.count)
    } else {
      durable.removeLast(durable.count - size)
    }
  }

  /// Like `resizeOnDisk(_:)`, before any sector is put there. Sectors that are new to the file and
  /// were written to may hold bytes that other files left.
  private mutating func resizeOnDisk(
    _ size: Int, _ leftovers: Leftovers, using random: inout SeededGenerator
  ) {
    let first = (durable.count + Self.sector - 1) / Self.sector
    resizeOnDisk(size)
    guard !leftovers.isEmpty, random.chance(50) else { return }
    for sector in dirty.union(lost).sorted() where sector >= first && random.chance(70) {
      let range = Self.bytes(of: sector, below: durable.count)
      let bytes = leftovers.sector(like: sector, using: &random).prefix(range.count)
      durable.replaceSubrange(range.prefix(bytes.count), with: bytes)
    }
  }

  mutating func sync() {
    resizeOnDisk(cached.count)
    for sector in dirty { putOnDisk(sector) }
    dirty = []
  }

  /// A sync that fails: some sectors reach the disk. If the system forgets the others, all sectors
  /// count as clean afterwards.
  mutating func failSync(
    using random: inout SeededGenerator, leftovers: Leftovers, forgets: Bool
  ) {
    if random.chance(50) { resizeOnDisk(cached.count, leftovers, using: &random) }
    for sector in dirty.sorted() {
      // A sector may reach the disk while the size that would show it does not.
      let isThere = random.chance(50)
      if isThere { putOnDisk(sector) }
      let end = Self.bytes(of: sector, below: cached.count).upperBound
      if forgets, !isThere || end > durable.count { lost.insert(sector) }
    }
    guard forgets else { return }
    dirty = []
    failures += 1
  }

  /// Drops the clean bytes from the cache. The size stays, because the system stores it elsewhere.
  mutating func dropCache() { cached = afterDroppedCache }

  /// The bytes that a reader would see if the cache were dropped.
  var afterDroppedCache: [UInt8] {
    var seen = cached
    for sector in lost {
      for index in Self.bytes(of: sector, below: seen.count) {
        seen[index] = index < durable.count ? durable[index] : 0
      }
    }
    return seen
  }

  /// The file after a power cut. Its size is between the disk's and the cached one. Any of the
  /// sectors written since the last sync may be on the disk.
  func afterPowerCut(
    using random: inout SeededGenerator, leftovers: Leftovers
  ) -> SimulatedFile {
    var file = self
    let low = min(durable.count, cached.count)
    let high = max(durable.count, cached.count)
    let size =
      switch random.below(4) {
      case 0: durable.count
      case 1: cached.count
      default: low + random.below(high - low + 1)
      }
    file.resizeOnDisk(size, leftovers, using: &random)
    let kept = [0, 10, 50, 90, 100][random.below(5)]
    for sector in dirty.sorted() where random.chance(kept) { file.putOnDisk(sector) }
    return SimulatedFile(durable: file.durable)
  }

  /// Replaces all bytes, durably: damage.
  mutating func replaceAll(_ bytes: [UInt8]) { self = SimulatedFile(durable: bytes) }

  /// Flips one bit, on the disk and in the cache.
  mutating func flip(bit: Int) {
    cached[bit / 8] ^= 1 << UInt8(bit % 8)
    if bit / 8 < durable.count { durable[bit / 8] ^= 1 << UInt8(bit % 8) }
  }
}

/// Old bytes in sectors that belong to no file any more, or that belonged to another file before.
/// They come from slabs, or from consumers' cursors, live and removed.
struct Leftovers: Sendable {
  private var files: [[UInt8]]
  /// How many files are remembered, and how many bytes of each.
  private static let most = (files: 12, bytes: 32 << 10)

  init(_ files: [[UInt8]]) {
    self.files = files.filter { $0.count >= SimulatedFile.sector }.suffix(Self.most.files).map {
      Array($0.prefix(Self.most.bytes))
    }
  }

  var isEmpty: Bool { files.isEmpty }

  /// A sector of a random file. In half of the cases it has the same number, because such a sector
  /// is most like the right one.
  func sector(like sector: Int, using random: inout SeededGenerator) -> ArraySlice<UInt8> {
    let bytes = files[random.below(files.count)]
    let count = bytes.count / SimulatedFile.sector
    let number = random.chance(50) && sector < count ? sector : random.below(count)
    let start = number * SimulatedFile.sector
    return bytes[start..<start + SimulatedFile.sector]
  }

  /// These leftovers, and more.
  func adding(_ more: [[UInt8]]) -> Leftovers { Leftovers(files + more) }
}

/// A directory of files, and which part of it is durable.
package struct SimulatedDisk: Sendable {
  private var files: [Int: SimulatedFile] = [:]
  /// Files that are or were slabs.
  private var slabs: Set<Int> = []
  /// Files that are or were cursors, finished or not.
  private var cursors: Set<Int> = []
  /// Leftovers of slabs from before the last power cut.
  private var earlier = Leftovers([])
  /// Leftovers of cursors from before the last power cut.
  private var earlierCursors = Leftovers([])
  /// The names as programs see them.
  private(set) var names: [String: Int] = [:] { didSet { nameChanges += 1 } }
  /// How often a name changed, plus one.
  private(set) var nameChanges: UInt64 = 1
  /// The files that a name may lead to after a power cut. These are the file at the last sync of
  /// the directory, and the one after each change since. A name that is not listed leads to the
  /// file that programs see.
  private var changes: [String: [Int?]] = [:]
  private var nextFile = 0
  /// Whether the parent directory was synced, so that the directory's own name is durable.
  package private(set) var isNamed = false

  subscript(_ file: Int) -> SimulatedFile {
    get { files[file] ?? SimulatedFile() }
    _modify { yield &files[file, default: SimulatedFile()] }
  }

  /// Bytes in files that still have a name.
  var used: Int { names.values.reduce(0) { $0 + self[$1].size } }

  mutating func create(_ name: String) -> Int {
    let file = nextFile
    nextFile += 1
    files[file] = SimulatedFile()
    if SlabName.parse(name) != nil { slabs.insert(file) }
    if name.contains(".cursor") { cursors.insert(file) }
    change(name, to: file)
    return file
  }

  /// The bytes that a slab may hold in the part by which it grew.
  private var leftovers: Leftovers {
    earlier.adding(slabs.sorted().compactMap { files[$0]?.cached })
  }

  /// The same for a cursor. Bytes of cursors are most like the right ones, and so the worst case.
  private var cursorLeftovers: Leftovers {
    earlierCursors.adding(cursors.sorted().compactMap { files[$0]?.cached })
  }

  mutating func failSync(
    _ file: Int, using random: inout SeededGenerator, forgets: Bool
  ) {
    let leftovers = cursors.contains(file) ? cursorLeftovers : leftovers
    self[file].failSync(using: &random, leftovers: leftovers, forgets: forgets)
  }

  mutating func change(_ name: String, to file: Int?) {
    changes[name, default: [names[name]]].append(file)
    names[name] = file
  }

  /// Gives a file a name that no other file has. Returns false if there is no such file.
  mutating func rename(_ name: String, to new: String) -> Bool {
    guard let file = names[name] else { return false }
    change(name, to: nil)
    change(new, to: file)
    return true
  }

  /// Makes the names of the topic durable, or those of a directory in it.
  mutating func syncDirectory(below prefix: String = "") {
    changes = changes.filter { name, _ in
      prefix.isEmpty ? name.contains("/") : !name.hasPrefix(prefix)
    }
  }

  mutating func syncParent() { isNamed = true }

  /// The disk after a power cut: any state that the rules allow for changes that were not durable.
  func afterPowerCut(using random: inout SeededGenerator) -> SimulatedDisk {
    var disk = SimulatedDisk()
    disk.nextFile = nextFile
    disk.isNamed = isNamed
    let leftovers = leftovers
    disk.earlier = leftovers
    let cursorLeftovers = cursorLeftovers
    disk.earlierCursors = cursorLeftovers
    // A topic whose own name is not durable may be gone as a whole.
    if !isNamed, random.chance(50) { return disk }
    for name in Set(names.keys).union(changes.keys).sorted() {
      var file = names[name]
      if let states = changes[name] { file = states[random.below(states.count)] }
      guard let file else { continue }
      disk.names[name] = file
      let isCursor = cursors.contains(file)
      disk.files[file] = self[file].afterPowerCut(
        using: &random, leftovers: isCursor ? cursorLeftovers : leftovers)
      if slabs.contains(file) { disk.slabs.insert(file) }
      if isCursor { disk.cursors.insert(file) }
    }
    // The files in a directory are gone if the directory is.
    for (name, file) in disk.names {
      guard let slash = name.firstIndex(of: "/"), disk.names[String(name[..<slash])] == nil else {
        continue
      }
      disk.names[name] = nil
      disk.files[file] = nil
    }
    return disk
  }
}
