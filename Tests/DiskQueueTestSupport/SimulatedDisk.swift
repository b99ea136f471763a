// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import DiskQueue

/// A file as the system caches it, and as the disk holds it.
///
/// A disk writes sectors of 512 bytes whole. Between two syncs it may write any of them, in any
/// order. Where the file grew and a sector did not get to the disk, that holds zeros, or what was
/// there before it became this file's: bytes of another one.
package struct SimulatedFile: Sendable {
  package static let sector = 512

  /// What a reader sees.
  package private(set) var cached: [UInt8] = []
  /// What is certainly on the disk, if the power goes now.
  package private(set) var durable: [UInt8] = []
  /// Sectors written since the last sync.
  private var dirty: Set<Int> = []
  /// Sectors that a failed sync gave up: cached, taken for clean, and not on the disk.
  private var lost: Set<Int> = []
  /// How many syncs failed. Each handle that was open then is told by its next one, as Linux does;
  /// one that is opened later is not: somebody was told.
  private(set) var failures = 0

  init() {}

  /// A file that lies on the disk as it is.
  init(durable: [UInt8]) {
    self.cached = durable
    self.durable = durable
  }

  var size: Int { cached.count }

  mutating func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
    guard !bytes.isEmpty else { return }
    let end = offset + bytes.count
    if end > cached.count {
      // Sectors left out are zero in the cache, whatever the disk has there.
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

  /// The disk has what is cut off until the next sync, or some of it.
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

  /// Copies a sector's cached bytes to the disk, as far as the file reaches there.
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

  /// As the other, before any sector is put there: those that the file had not had yet, and that
  /// were written to, may hold what others left.
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

  /// A sync that fails: some sectors reach the disk, and all are taken for clean afterwards, if the
  /// system forgets about them.
  mutating func failSync(
    using random: inout SeededGenerator, leftovers: Leftovers, forgets: Bool
  ) {
    if random.chance(50) { resizeOnDisk(cached.count, leftovers, using: &random) }
    for sector in dirty.sorted() {
      // A sector may have got there, and the size that would show it not.
      let isThere = random.chance(50)
      if isThere { putOnDisk(sector) }
      let end = Self.bytes(of: sector, below: cached.count).upperBound
      if forgets, !isThere || end > durable.count { lost.insert(sector) }
    }
    guard forgets else { return }
    dirty = []
    failures += 1
  }

  /// Forgets what is cached and clean. The size stays: the system remembers it elsewhere.
  mutating func dropCache() { cached = afterDroppedCache }

  /// What a reader would see if the cache were dropped.
  var afterDroppedCache: [UInt8] {
    var seen = cached
    for sector in lost {
      for index in Self.bytes(of: sector, below: seen.count) {
        seen[index] = index < durable.count ? durable[index] : 0
      }
    }
    return seen
  }

  /// The file after a power cut: any size between the disk's and the cached one, and any of the
  /// sectors written since the last sync.
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

  /// Puts other bytes in the place of all there were, durably: damage.
  mutating func replaceAll(_ bytes: [UInt8]) { self = SimulatedFile(durable: bytes) }

  /// Flips one bit, on the disk and in the cache.
  mutating func flip(bit: Int) {
    cached[bit / 8] ^= 1 << UInt8(bit % 8)
    if bit / 8 < durable.count { durable[bit / 8] ^= 1 << UInt8(bit % 8) }
  }
}

/// What lies in sectors that no file has any more, or that one had before another took them over:
/// bytes of slabs, or of consumers' cursors, live and removed.
struct Leftovers: Sendable {
  private var files: [[UInt8]]
  /// So many files are remembered, and so much of each.
  private static let most = (files: 12, bytes: 32 << 10)

  init(_ files: [[UInt8]]) {
    self.files = files.filter { $0.count >= SimulatedFile.sector }.suffix(Self.most.files).map {
      Array($0.prefix(Self.most.bytes))
    }
  }

  var isEmpty: Bool { files.isEmpty }

  /// Half of the time the sector that another file had at the same place, which is the one most
  /// like what belongs there.
  func sector(like sector: Int, using random: inout SeededGenerator) -> ArraySlice<UInt8> {
    let bytes = files[random.below(files.count)]
    let count = bytes.count / SimulatedFile.sector
    let number = random.chance(50) && sector < count ? sector : random.below(count)
    let start = number * SimulatedFile.sector
    return bytes[start..<start + SimulatedFile.sector]
  }

  /// With those of before.
  func adding(_ more: [[UInt8]]) -> Leftovers { Leftovers(files + more) }
}

/// A directory of files, and what of it is durable.
package struct SimulatedDisk: Sendable {
  private var files: [Int: SimulatedFile] = [:]
  /// Files that are or were slabs.
  private var slabs: Set<Int> = []
  /// Files that are or were cursors, finished or not.
  private var cursors: Set<Int> = []
  /// Of slabs from before the last power cut.
  private var earlier = Leftovers([])
  /// Of cursors from before it.
  private var earlierCursors = Leftovers([])
  /// The names as programs see them.
  private(set) var names: [String: Int] = [:] { didSet { nameChanges += 1 } }
  /// How often a name changed, and one.
  private(set) var nameChanges: UInt64 = 1
  /// What a name may turn out to be after a power cut: as it was at the last sync of the directory,
  /// and after each change since. A name that is not here is as programs see it.
  private var changes: [String: [Int?]] = [:]
  private var nextFile = 0
  /// Whether the directory's own name was made durable in the one that holds it.
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

  /// What a slab may hold where it grew.
  private var leftovers: Leftovers {
    earlier.adding(slabs.sorted().compactMap { files[$0]?.cached })
  }

  /// What a cursor may: what is most like it, and so the worst.
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

  /// Gives a file another name, which no file has. False: there is no such file.
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

  /// The disk after a power cut: any legal mixture of what was not durable yet.
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
    // What lies in a directory goes with it.
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
