// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// An open slab: a file, and the address at which it begins.
package final class SlabFile: Sendable {
  package let base: UInt64
  /// The topic's path and the slab's name, for messages.
  package let path: String
  package let file: any StorageFile
  /// The name that must lead to the file of a slab that is written. Nil if the slab is only read.
  let heldName: HeldName?

  init(base: UInt64, path: String, file: any StorageFile, heldName: HeldName? = nil) {
    self.base = base
    self.path = path
    self.file = file
    self.heldName = heldName
  }

  /// Opens the slab with this base. Nil if there is none, or none any more.
  package static func open(
    _ base: UInt64, in storage: any TopicStorage, writable: Bool = false
  ) throws(QueueError) -> SlabFile? {
    let name = SlabName.string(base)
    let path = storage.path + "/" + name
    do throws(SystemError) {
      let file = try storage.open(name, writable: writable)
      let heldName = writable ? try HeldName(name, leadingTo: file) : nil
      return SlabFile(base: base, path: path, file: file, heldName: heldName)
    } catch {
      guard error.errno != Errno.noEntry else { return nil }
      throw .system(error, doing: "opening a slab", path: path, address: base)
    }
  }

  /// The end of the slab's epoch. Addresses from there on belong to another slab, whatever bytes
  /// this file holds there: no writer lets a slab reach so far.
  private var epochEnd: UInt64 { Epoch.end(Epoch.of(base)) }

  /// Reads at an address of this slab. Reads fewer bytes only at the slab's end.
  func read(
    into target: UnsafeMutableRawBufferPointer, at address: UInt64
  ) throws(QueueError) -> Int {
    let room = address < epochEnd ? Int(clamping: epochEnd - address) : 0
    // Safe: a part of the caller's buffer.
    let target = unsafe UnsafeMutableRawBufferPointer(rebasing: target.prefix(room))
    do throws(SystemError) {
      return unsafe try file.read(into: target, at: address - base)
    } catch {
      throw .system(error, doing: "reading a slab", path: path, address: address)
    }
  }

  /// Like `read`, but reads only bytes that need no wait for a disk. Nil if the storage cannot say
  /// which bytes those are. 0 if there are none, or if the file cannot be read.
  func readWithoutWaiting(
    into target: UnsafeMutableRawBufferPointer, at address: UInt64
  ) -> Int? {
    let room = address < epochEnd ? Int(clamping: epochEnd - address) : 0
    // Safe: a part of the caller's buffer.
    let target = unsafe UnsafeMutableRawBufferPointer(rebasing: target.prefix(room))
    do throws(SystemError) {
      return unsafe try file.readWithoutWaiting(into: target, at: address - base)
    } catch {
      return error.errno == Errno.notSupported ? nil : 0
    }
  }

  package func size() throws(QueueError) -> UInt64 {
    do throws(SystemError) {
      return try file.size()
    } catch {
      throw .system(error, doing: "asking for a slab's size", path: path)
    }
  }

  /// The address after the file's last byte, but at most the end of its epoch.
  package func end() throws(QueueError) -> UInt64 {
    let (end, overflow) = base.addingReportingOverflow(try size())
    return min(overflow ? .max : end, epochEnd)
  }

  /// The end of the bytes in a stretch, without the zeros at its end. A file that was not closed
  /// may end in zeros, which are preallocated space and not frames. Reads from the end, and only as
  /// far as needed.
  package func writtenEnd(of stretch: Range<UInt64>) throws(QueueError) -> UInt64 {
    var window = ByteWindow(capacity: 1 << 16)
    var end = stretch.upperBound
    while end > stretch.lowerBound {
      let from = max(stretch.lowerBound, end - min(end, UInt64(window.capacity)))
      try window.fill(from: self, at: from, limit: end)
      let written = window.bytes.countWithoutZerosAtEnd
      if written > 0 { return from + UInt64(written) }
      end = from
    }
    return end
  }

  /// The beginning of a slab.
  package struct Head: Sendable {
    package var header: SlabHeader.HeaderVerdict
    /// The mark after the header, if it is sound. It is the spare copy of the header.
    package var firstMark: Mark?

    package var soundHeader: SlabHeader? {
      if case .sound(let header) = header { header } else { nil }
    }

    package var topicID: UInt64? { soundHeader?.topicID ?? firstMark?.topicID }
    package var ordinal: UInt64? { soundHeader?.ordinal ?? firstMark?.ordinal }
    package var stamp: UInt64? { soundHeader?.stamp ?? firstMark?.stamp }

    /// The highest address below which everything is stated to be durable.
    package var synced: UInt64? {
      guard let header = soundHeader, let mark = firstMark else {
        return soundHeader?.synced ?? firstMark?.synced
      }
      return max(header.synced, mark.synced)
    }

    /// This head, without the parts that state another topic's id.
    func of(topicID: UInt64) -> Head {
      Head(
        header: soundHeader.map { $0.topicID == topicID } ?? true ? header : .unsound,
        firstMark: firstMark?.topicID == topicID ? firstMark : nil)
    }
  }

  /// Reads the header and the mark after it.
  package func head() throws(QueueError) -> Head {
    var window = ByteWindow(capacity: SlabHeader.byteCount + Mark.byteCount)
    try window.fill(from: self, at: base, limit: .max)
    let (first, overflow) = base.addingReportingOverflow(UInt64(SlabHeader.byteCount))
    let after = window.bytes.extracting(droppingFirst: SlabHeader.byteCount)
    return Head(
      header: SlabHeader.read(window.bytes, base: base),
      firstMark: overflow ? nil : Mark.read(after, address: first, topicID: nil))
  }

  // MARK: Checksums

  /// The checksum of a payload of any length, computed in pieces. Nil if the payload ends past the
  /// file's end.
  func checksum(
    _ kind: StreamingChecksum.Algorithm, at address: UInt64, count: UInt64
  ) throws(QueueError) -> UInt32? {
    let (end, overflow) = address.addingReportingOverflow(count)
    // The file's size bounds the length before a byte is read for it.
    guard !overflow, try end <= self.end() else { return nil }
    guard var checksum = StreamingChecksum(kind) else {
      throw .system(
        SystemError(errno: Errno.noMemory, call: "malloc"), doing: "verifying a record",
        path: path, address: address)
    }
    var window = ByteWindow(capacity: Int(min(max(count, 1), SlabFormat.markSpacing)))
    var position = address
    while position < end {
      try window.fill(from: self, at: position, limit: end)
      guard window.count > 0 else { return nil }
      checksum.update(window.bytes)
      position = window.end
    }
    return checksum.frameChecksum
  }
}

extension RawSpan {
  /// The number of bytes without the zeros at the end.
  fileprivate var countWithoutZerosAtEnd: Int {
    var count = byteCount
    while count >= 8, u64(count - 8) == 0 { count -= 8 }
    while count > 0, byte(count - 1) == 0 { count -= 1 }
    return count
  }
}

extension SlabFile {
  /// The base that a header states if it is sound except for the file's name. Nil if there is no
  /// such header.
  package func statedBase() throws(QueueError) -> UInt64? {
    var window = ByteWindow(capacity: SlabHeader.byteCount)
    try window.fill(from: self, at: base, limit: .max)
    guard window.count == SlabHeader.byteCount else { return nil }
    // The offset is that of the byte diagram. With another field, no header would pass as sound.
    let stated = window.bytes.u64(16)
    guard stated != base, case .sound = SlabHeader.read(window.bytes, base: stated) else {
      return nil
    }
    return stated
  }
}
