// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// A file as the system caches it, and as the disk holds it.
///
/// A disk writes sectors of 512 bytes whole. Between two syncs it may write any of them, in any
/// order.
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
    if end > cached.count { cached += [UInt8](repeating: 0, count: end - cached.count) }
    cached.withUnsafeMutableBytes { target in
      UnsafeMutableRawBufferPointer(rebasing: target[offset..<end]).copyMemory(from: bytes)
    }
    for sector in (offset / Self.sector)...((end - 1) / Self.sector) {
      dirty.insert(sector)
      lost.remove(sector)
    }
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

  mutating func sync() {
    resizeOnDisk(cached.count)
    for sector in dirty { putOnDisk(sector) }
    dirty = []
  }

  /// A sync that fails: some sectors reach the disk, and all are taken for clean afterwards, if the
  /// system forgets about them.
  mutating func failSync(using random: inout SeededGenerator, forgets: Bool) {
    if random.chance(50) { resizeOnDisk(cached.count) }
    for sector in dirty.sorted() {
      // A sector may have got there, and the size that would show it not.
      let isThere = random.chance(50)
      if isThere { putOnDisk(sector) }
      let end = Self.bytes(of: sector, below: cached.count).upperBound
      if forgets, !isThere || end > durable.count { lost.insert(sector) }
    }
    if forgets { dirty = [] }
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
  func afterPowerCut(using random: inout SeededGenerator) -> SimulatedFile {
    var file = self
    let low = min(durable.count, cached.count)
    let high = max(durable.count, cached.count)
    let size =
      switch random.below(4) {
      case 0: durable.count
      case 1: cached.count
      default: low + random.below(high - low + 1)
      }
    file.resizeOnDisk(size)
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

/// A directory of files, and what of it is durable.
package struct SimulatedDisk: Sendable {
  private var files: [Int: SimulatedFile] = [:]
  /// The names as programs see them.
  private(set) var names: [String: Int] = [:]
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
    change(name, to: file)
    return file
  }

  mutating func change(_ name: String, to file: Int?) {
    changes[name, default: [names[name]]].append(file)
    names[name] = file
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
    // A topic whose own name is not durable may be gone as a whole.
    if !isNamed, random.chance(50) { return disk }
    for name in Set(names.keys).union(changes.keys).sorted() {
      var file = names[name]
      if let states = changes[name] { file = states[random.below(states.count)] }
      guard let file else { continue }
      disk.names[name] = file
      disk.files[file] = self[file].afterPowerCut(using: &random)
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
