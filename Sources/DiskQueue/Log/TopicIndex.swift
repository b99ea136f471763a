// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// Everything that a reader knows of a topic besides the slab that it reads:
/// - the slabs' names
/// - the end of each epoch's records
/// - the topic's id
/// - the highest address that is stated to be durable
///
/// Holds 8 bytes a slab and 24 an epoch.
package final class TopicIndex {
  package let storage: any TopicStorage

  /// The bases of all slabs, as their names state them, ascending.
  package private(set) var bases: [UInt64] = []

  /// The id of the last sound header or mark. Nil while there is none. If the first slab states
  /// another id, `SlabVote` decides.
  package private(set) var topicID: UInt64?

  /// A slab of another topic, copied here, if the listing showed one at either end.
  /// Slabs in the middle are compared when they are opened.
  package private(set) var foreign: UInt64?

  /// The first slab at the last comparison of ids, and the id that it stated.
  private var comparedFirst: (base: UInt64, topicID: UInt64)?

  /// Whether queuefka wrote the slabs of epoch 0.
  package private(set) var isVersion1 = false

  /// The highest `synced` seen. Everything below it was durable, so anything missing there is
  /// damage.
  private(set) var highestSynced: UInt64 = 0

  /// The start of an epoch's records, and the end of the records before it.
  private struct Boundary {
    var epoch: UInt64
    var kept: UInt64
    /// The lowest `kept` of this epoch and of all later ones.
    var lowestKept: UInt64
  }
  private var boundaries: [Boundary] = []
  private var keptOfEpoch: [UInt64: UInt64] = [:]
  /// How many listings differed, or may have differed, from the one before.
  private(set) var changes = 0
  /// Whether everything is known about the slabs listed. A slab that is still being made is read
  /// again at the next listing.
  private var isSettled = false
  /// Set once a slab of epoch 0 could be judged. The result never changes.
  private var isVersion1Settled = false

  /// Whether the topic was removed: it had slabs, and now has neither slabs nor a lock. A cleaner
  /// leaves at least the newest slab, and the lock goes only with the directory.
  private(set) var isRemoved = false

  package init(_ storage: any TopicStorage) { self.storage = storage }

  // MARK: Listing

  /// The bases of all slabs in a directory, ascending.
  ///
  /// - Throws: `notATopic` if the directory holds other files, but neither a slab nor the lock.
  ///   Also if it holds the shards of a topic, and no slab.
  package static func slabs(in storage: any TopicStorage) throws(QueueError) -> [UInt64] {
    try list(storage).slabs
  }

  private static func list(
    _ storage: any TopicStorage
  ) throws(QueueError) -> (slabs: [UInt64], hasLock: Bool) {
    var listed: [UInt64] = []
    var hasLock = false
    var hasOthers = false
    var hasShards = false
    do throws(SystemError) {
      try storage.forEachName { name in
        if let base = SlabName.parse(name) {
          listed.append(base)
        } else if name == TopicLayout.lockName {
          hasLock = true
        } else if name == TopicLayout.shardsName {
          hasShards = true
        } else if name != TopicLayout.consumersName, !TopicLayout.isNeutral(name) {
          hasOthers = true
        }
      }
    } catch {
      throw .system(error, doing: "listing the topic", path: storage.path)
    }
    // The lock is there, too. Refuse, because no reader would find a record appended beside the
    // shards.
    if listed.isEmpty, hasShards {
      throw QueueError(
        .notATopic,
        "the directory holds the shards of a topic: name one of them, such as"
          + " \(storage.path)/\(ShardName.string(0)), or open all of them together, as a sharded"
          + " topic",
        path: storage.path)
    }
    if listed.isEmpty, hasOthers, !hasLock {
      throw QueueError(
        .notATopic, "the directory holds other files and no topic: check the path",
        path: storage.path)
    }
    return (listed.sorted(), hasLock)
  }

  /// Lists the topic again.
  package func refresh() throws(QueueError) {
    let (listed, hasLock) = try TopicIndex.list(storage)
    isRemoved = listed.isEmpty && !hasLock && (isRemoved || !bases.isEmpty)
    guard listed != bases || !isSettled else { return }
    changes += 1
    bases = listed
    isSettled = true
    try settleTopicID()
    try settleVersion1()
    try settleBoundaries()
  }

  /// Lists the topic again, and discards everything known about it before.
  func refreshAll() throws(QueueError) {
    isSettled = false
    keptOfEpoch = [:]
    highestSynced = 0
    comparedFirst = nil
    try refresh()
  }

  private func head(_ base: UInt64) throws(QueueError) -> SlabFile.Head? {
    try SlabFile.open(base, in: storage)?.head()
  }

  private func settleTopicID() throws(QueueError) {
    topicID = nil
    foreign = nil
    for base in bases.reversed() {
      if let id = try head(base)?.topicID {
        topicID = id
        try compareFirst(with: id)
        return
      }
    }
    // No slab has a sound beginning. A mark further inside still states the id, except in version 1
    // slabs, which have no marks.
    let isVersion1 = try firstFramePassesAsVersion1()
    for base in bases.reversed() where !isVersion1 || Epoch.of(base) > 0 {
      guard let slab = try SlabFile.open(base, in: storage) else { continue }
      var search = MarkSearch(slab, topicID: nil)
      if let found = try search.last(from: base, limit: .max) {
        topicID = found.mark.topicID
        return
      }
    }
  }

  /// Compares the first slab with the last one. All slabs of a topic state the same id, so one
  /// comparison for each first slab is enough.
  private func compareFirst(with last: UInt64) throws(QueueError) {
    guard let first = bases.first else { return }
    if comparedFirst?.base != first {
      comparedFirst = try head(first)?.topicID.map { (first, $0) }
    }
    guard let compared = comparedFirst, compared.topicID != last else { return }
    var vote = SlabVote()
    for base in SlabVote.voters(among: bases) {
      if let id = try head(base)?.topicID { vote.add(base, id) }
    }
    topicID = vote.winner ?? last
    foreign = vote.firstLoser
    // A writer may make a slab that it could not finish again, with another id.
    comparedFirst = nil
  }

  /// Throws if the listing showed a slab of another topic.
  func refuseForeign() throws(QueueError) {
    guard let foreign else { return }
    throw .foreignSlab(path: storage.path + "/" + SlabName.string(foreign), address: foreign)
  }

  private func settleVersion1() throws(QueueError) {
    guard !isVersion1Settled else { return }
    let slabs = bases.prefix { Epoch.of($0) == 0 }
    for base in slabs {
      guard let head = try head(base) else { continue }
      if head.soundHeader != nil || head.firstMark != nil {
        isVersion1Settled = true
        return
      }
      if case .unsupported = head.header {
        isVersion1Settled = true
        return
      }
    }
    if try firstFramePassesAsVersion1() {
      isVersion1 = true
      isVersion1Settled = true
    }
  }

  private func firstFramePassesAsVersion1() throws(QueueError) -> Bool {
    for base in bases.prefix(while: { Epoch.of($0) == 0 }) {
      guard let slab = try SlabFile.open(base, in: storage) else { continue }
      if try slab.judgeVersion1() != nil { return true }
    }
    return false
  }

  /// Which length the frames of a version 1 slab state. Its own first frame decides, or else that
  /// of a slab before it or after it.
  package func version1Length(of slab: SlabFile) throws(QueueError) -> Version1Length {
    if let length = try slab.judgeVersion1() { return length }
    let slabs = bases.prefix { Epoch.of($0) == 0 }
    let before = slabs.prefix { $0 < slab.base }.reversed()
    let after = slabs.drop { $0 <= slab.base }
    for base in Array(before) + Array(after) {
      if let length = try SlabFile.open(base, in: storage)?.judgeVersion1() { return length }
    }
    return .payload
  }

  // MARK: Epochs

  private func settleBoundaries() throws(QueueError) {
    boundaries = []
    guard let topicID else {
      isSettled = false
      return
    }
    var index = bases.startIndex
    while index < bases.endIndex {
      let epoch = Epoch.of(bases[index])
      let next = bases[index...].firstIndex { Epoch.of($0) != epoch } ?? bases.endIndex
      if epoch > 0 {
        if let kept = try kept(epoch, bases[index..<next], topicID) {
          boundaries.append(Boundary(epoch: epoch, kept: kept, lowestKept: kept))
        } else {
          isSettled = false
        }
      }
      index = next
    }
    var lowest = UInt64.max
    for index in boundaries.indices.reversed() {
      lowest = min(lowest, boundaries[index].kept)
      boundaries[index].lowestKept = lowest
    }
  }

  /// The end of the records before this epoch. Every header and mark of the epoch states the same.
  private func kept(
    _ epoch: UInt64, _ slabs: ArraySlice<UInt64>, _ topicID: UInt64
  ) throws(QueueError) -> UInt64? {
    if let known = keptOfEpoch[epoch] { return known }
    var found: UInt64?
    for base in slabs where found == nil {
      guard let head = try head(base)?.of(topicID: topicID) else { continue }
      found = head.soundHeader?.kept ?? head.firstMark?.kept
    }
    for base in slabs where found == nil {
      guard let slab = try SlabFile.open(base, in: storage) else { continue }
      var search = MarkSearch(slab, topicID: topicID)
      found = try search.first(from: base, limit: .max)?.mark.kept
    }
    if let found { keptOfEpoch[epoch] = found }
    return found
  }

  /// The highest address at which this epoch's records can end: the lowest `kept` of a later epoch.
  package func bound(ofEpoch epoch: UInt64) -> UInt64? {
    firstBoundary(after: epoch).map { boundaries[$0].lowestKept }
  }

  private func firstBoundary(after epoch: UInt64) -> Int? {
    var low = 0
    var high = boundaries.count
    while low < high {
      let middle = (low + high) / 2
      if boundaries[middle].epoch > epoch { high = middle } else { low = middle + 1 }
    }
    return low < boundaries.count ? low : nil
  }

  /// Whether the whole slab is past the end of its epoch's records, as a later epoch states it.
  package func isPassedOver(_ base: UInt64) -> Bool {
    guard let bound = bound(ofEpoch: Epoch.of(base)) else { return false }
    return base >= bound
  }

  // MARK: Locating

  /// The first slab that counts.
  package var first: UInt64? { firstCounted(from: 0) }

  /// The first slab that counts, from an index in `bases` on. Within an epoch only the last slabs
  /// are passed over, so this looks at one slab an epoch.
  private func firstCounted(from place: Int) -> UInt64? {
    var place = place
    while place < bases.count {
      let base = bases[place]
      guard isPassedOver(base) else { return base }
      let epoch = Epoch.of(base)
      guard epoch < Epoch.last else { return nil }
      place = lastIndex(notAbove: Epoch.firstAddress(epoch + 1) - 1).map { $0 + 1 } ?? bases.count
    }
    return nil
  }

  /// The location of an address.
  enum Location: Equatable {
    /// In the slab with this base. Its content ends at `limit` at the latest (`UInt64.max`: at its
    /// end).
    case inside(base: UInt64, limit: UInt64)
    /// The records continue in this slab, the first one of a later epoch.
    case nextEpoch(base: UInt64)
    /// The slab in which the log continues is gone. It was cleaned if it came before the first
    /// slab. Otherwise this is damage. No further proof is needed if an epoch states the end of the
    /// records before it.
    case gone(next: UInt64, cause: Loss.Cause, needsProof: Bool)
    /// There is no slab here or later.
    case nowhere
  }

  func locate(_ address: UInt64) -> Location {
    guard let first else { return .nowhere }
    let epoch = Epoch.of(address)
    if let bound = bound(ofEpoch: epoch), address >= bound,
      let start = firstBoundary(after: epoch),
      let next = boundaries[start...].first(where: { $0.kept <= address })
    {
      let base = Epoch.firstAddress(next.epoch)
      if contains(base) { return .nextEpoch(base: base) }
      guard let later = firstSlab(after: address) else { return .nowhere }
      return .gone(next: later, cause: later == first ? .cleaned : .damaged, needsProof: false)
    }
    if let index = lastIndex(notAbove: address), Epoch.of(bases[index]) == epoch {
      return .inside(base: bases[index], limit: limit(ofSlabAt: index))
    }
    if address < first { return .gone(next: first, cause: .cleaned, needsProof: false) }
    guard let later = firstSlab(after: address) else { return .nowhere }
    return .gone(next: later, cause: .damaged, needsProof: true)
  }

  /// The highest address at which a slab's content can end. `UInt64.max` if only its file's size
  /// decides.
  package func limit(ofSlabAt index: Int) -> UInt64 {
    let epoch = Epoch.of(bases[index])
    let next = index + 1 < bases.count ? bases[index + 1] : .max
    let own = Epoch.of(next) == epoch ? next : .max
    return min(own, bound(ofEpoch: epoch) ?? .max)
  }

  func contains(_ base: UInt64) -> Bool {
    lastIndex(notAbove: base).map { bases[$0] == base } ?? false
  }

  package func lastIndex(notAbove address: UInt64) -> Int? {
    var low = 0
    var high = bases.count
    while low < high {
      let middle = (low + high) / 2
      if bases[middle] > address { high = middle } else { low = middle + 1 }
    }
    return low > 0 ? low - 1 : nil
  }

  /// The path of the slab in which a loss begins, or of the topic if that slab is gone.
  package func path(of loss: Loss) -> String {
    let start = loss.addresses.lowerBound.rawValue
    guard case .inside(let base, _) = locate(start) else { return storage.path }
    return storage.path + "/" + SlabName.string(base)
  }

  private func firstSlab(after address: UInt64) -> UInt64? {
    firstCounted(from: lastIndex(notAbove: address).map { $0 + 1 } ?? 0)
  }

  /// The address at which the log continues after a slab whose content ends at `limit`. Nil if it
  /// does not.
  ///
  /// The log continues in the next slab, in the next epoch's first slab, or in a slab of a hidden
  /// epoch. A hidden epoch does not state its own beginning, because its header and all its marks
  /// are damaged. Only a later epoch states that it counts.
  func slab(after base: UInt64, limit: UInt64) -> UInt64? {
    guard limit != .max else { return nil }
    if let hidden = firstSlab(after: base), hidden < limit { return hidden }
    var next = limit
    // Skip an epoch of which a later one kept nothing.
    while case .nextEpoch(let first) = locate(next) {
      next = first
      if !isPassedOver(first) { break }
    }
    return next
  }

  /// The ordinal at the beginning of the slab with this base. Nil if it is not readable.
  package func ordinal(ofSlabAt base: UInt64) throws(QueueError) -> UInt64? {
    guard let topicID, contains(base), !isPassedOver(base) else { return nil }
    return try head(base)?.of(topicID: topicID).ordinal
  }

  /// The ordinal at the beginning of the next readable slab at or after an address.
  func ordinal(ofSlabFrom address: UInt64) throws(QueueError) -> UInt64? {
    guard let topicID else { return nil }
    let start = lastIndex(notAbove: address).map { bases[$0] == address ? $0 : $0 + 1 } ?? 0
    for base in bases[start...] where !isPassedOver(base) {
      if let ordinal = try head(base)?.of(topicID: topicID).ordinal { return ordinal }
    }
    return nil
  }

  // MARK: Durability

  /// Notes the `synced` that a sound header or mark states.
  func note(synced: UInt64) { highestSynced = max(highestSynced, synced) }

  /// Whether a later mark or header states that `address` was durable. If so, a bad frame there is
  /// damage, and not merely the end of the log.
  func isProven(_ address: UInt64) throws(QueueError) -> Bool {
    if highestSynced > address { return true }
    guard let topicID, let start = lastIndex(notAbove: address) else { return false }
    // The newest slabs first, because they state the most. Within a slab, the last mark does.
    for base in bases[(start + 1)...].reversed() {
      if let synced = try head(base)?.of(topicID: topicID).synced { note(synced: synced) }
      if highestSynced > address { return true }
    }
    for base in bases[start...].reversed() {
      guard let slab = try SlabFile.open(base, in: storage) else { continue }
      let from = max(base, address)
      var search = MarkSearch(slab, topicID: topicID)
      // Verify bytes that pass for a mark if they would be a proof.
      if let hint = try search.last(from: from, limit: .max), hint.mark.synced > address,
        let found = try lastMark(of: slab, from: from, limit: .max)
      {
        note(synced: found.mark.synced)
      }
      if highestSynced > address { return true }
    }
    return false
  }

  /// The last mark of a slab that starts at or after `start`, ends at or before `limit`, and is not
  /// part of a payload.
  func lastMark(
    of slab: SlabFile, from start: UInt64, limit: UInt64
  ) throws(QueueError) -> MarkAt? {
    guard let topicID else { return nil }
    var search = MarkSearch(slab, topicID: topicID)
    guard let hint = try search.last(from: start, limit: limit) else { return nil }
    return try lastMark(of: slab, from: start, limit: limit, near: hint.address) { _ in true }
  }

  /// The last mark for which `holds` is true: see `FrameSearch`.
  func lastMark(
    of slab: SlabFile, from start: UInt64, limit: UInt64, near hint: UInt64,
    where holds: (Mark) -> Bool
  ) throws(QueueError) -> MarkAt? {
    guard let topicID else { return nil }
    let size = try slab.size()
    let header = try slab.head().of(topicID: topicID).soundHeader
    var frames = try FrameSearch(
      slab, topicID: topicID, maximumPayload: header.map { UInt64($0.largestPayload) } ?? size)
    return try frames.lastMark(from: start, limit: limit, near: hint, where: holds)
  }
}

extension TopicIndex {
  /// The part of the log that is certainly on stable storage, as the newest slabs state it.
  struct DurableEnd {
    /// Everything below it is durable.
    var synced: UInt64 = 0
    /// The highest stamp in the slabs that were read.
    var stamp: UInt64 = 0
    /// The last slab that has a sound beginning and a base not above `synced`. Without one, the
    /// first slab.
    var slab: UInt64?
  }

  /// Reads only the newest slabs, however many there are: a slab that the writer has left is soon
  /// synced.
  func durableEnd() throws(QueueError) -> DurableEnd {
    var end = DurableEnd()
    guard let topicID else {
      end.slab = first
      return end
    }
    for base in bases.reversed() {
      guard let slab = try SlabFile.open(base, in: storage) else { continue }
      let head = try slab.head().of(topicID: topicID)
      let last = try lastMark(of: slab, from: base, limit: .max)?.mark
      end.synced = max(end.synced, head.synced ?? 0, last?.synced ?? 0)
      end.stamp = max(end.stamp, head.stamp ?? 0, last?.stamp ?? 0)
      if head.topicID != nil, base <= end.synced, !isPassedOver(base) {
        end.slab = base
        return end
      }
    }
    end.slab = first
    return end
  }
}

extension SlabFile {
  /// The length that the slab's first frame confirms. Nil if the frame is bad with both.
  fileprivate func judgeVersion1() throws(QueueError) -> Version1Length? {
    var window = ByteWindow(capacity: FrameHeader.byteCount)
    try window.fill(from: self, at: base, limit: .max)
    guard window.count == FrameHeader.byteCount else { return nil }
    let word = window.bytes.u32(FrameHeader.length)
    let checksum = window.bytes.u32(FrameHeader.checksum)
    for length in [Version1Length.payload, .payloadAndChecksum] {
      guard let count = length.payloadBytes(word) else { continue }
      let payload = base &+ UInt64(FrameHeader.byteCount)
      if try self.checksum(.version1, at: payload, count: UInt64(count)) == checksum {
        return length
      }
    }
    return nil
  }
}

extension TopicIndex {
  /// Whether queuefka wrote the slab with this base.
  package func holdsVersion1(_ base: UInt64) -> Bool { isVersion1 && Epoch.of(base) == 0 }
}
