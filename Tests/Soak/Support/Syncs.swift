// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The longest sync of a check, in its process and in those that it starts. It is printed beside
/// each verdict, because a slow disk may be the reason for a slow check.
///
/// A child reports each sync that is its longest so far, when the call returns, through a pipe from
/// its parent. So the parent knows what a child measured before it was killed.
enum Syncs {
  /// In nanoseconds.
  private static let longestHere = Atomic<UInt64>(0)
  private static let pipe = Mutex<(reading: Int32, writing: Int32)?>(nil)
  /// The descriptor in a child that leads to its parent.
  static let childDescriptor: Int32 = 4
  private static let descriptor = Atomic<Int32>(-1)

  /// Makes this process, which is a child, report to its parent.
  static func reportToParent() { descriptor.store(childDescriptor, ordering: .relaxed) }

  /// The end of the pipe to which children write.
  static func writingEnd() throws(Broken) -> Int32 {
    let end = pipe.withLock { ends -> Int32? in
      if let ends { return ends.writing }
      guard let made = Posix.makeNonblockingPipe() else { return nil }
      ends = made
      return made.writing
    }
    guard let end else { throw Broken("making a pipe for the times of syncs failed") }
    return end
  }

  fileprivate static func note(_ nanoseconds: UInt64) {
    guard nanoseconds > longestHere.load(ordering: .relaxed) else { return }
    longestHere.max(nanoseconds, ordering: .relaxed)
    let descriptor = descriptor.load(ordering: .relaxed)
    guard descriptor >= 0 else { return }
    // Writes all eight bytes, or none if the pipe is full.
    withUnsafeBytes(of: nanoseconds) { _ = write(descriptor, $0.baseAddress, $0.count) }
  }

  /// The longest sync so far, in nanoseconds.
  static var longest: UInt64 {
    pipe.withLock { ends in
      guard let ends else { return }
      var nanoseconds: UInt64 = 0
      while withUnsafeMutableBytes(
        of: &nanoseconds, { read(ends.reading, $0.baseAddress, $0.count) == $0.count })
      {
        longestHere.max(nanoseconds, ordering: .relaxed)
      }
    }
    return longestHere.load(ordering: .relaxed)
  }
}

// The library is linked into this program, so its calls come here and not to the C library.
#if !canImport(Darwin)
  private typealias Sync = @convention(c) (Int32) -> Int32

  private func next(_ name: String) -> Sync {
    // RTLD_NEXT: the function that this one hides.
    guard let found = dlsym(UnsafeMutableRawPointer(bitPattern: -1), name) else { abort() }
    return unsafeBitCast(found, to: Sync.self)
  }

  private let nextDataSync = next("fdatasync")
  private let nextSync = next("fsync")

  private func timed(_ call: Sync, _ descriptor: Int32) -> Int32 {
    let start = Posix.now()
    let status = call(descriptor)
    let code = errno
    Syncs.note(Posix.now() - start)
    errno = code
    return status
  }

  @_cdecl("fdatasync")
  func timedDataSync(_ descriptor: Int32) -> Int32 { timed(nextDataSync, descriptor) }

  @_cdecl("fsync")
  func timedSync(_ descriptor: Int32) -> Int32 { timed(nextSync, descriptor) }
#endif
