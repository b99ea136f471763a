// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import DiskQueue

/// The holder of a topic's lock or of a consumer's lock: whether there is one now, and its process.
///
/// The kernel releases a lock when its holder ends, so a process that crashed holds none. Nothing
/// is locked to find this out.
public struct LockHolder: Sendable, Hashable {
  /// Whether a holder has the lock now. Nil if the system cannot report it, for example because
  /// this user may not open the lock's file.
  public var isAlive: Bool?
  /// The process that acquired the lock last, by the note in the lock's file. Nil if no process is
  /// noted.
  public var process: Int32?
  /// Whether a process of that number is running on this system.
  ///
  /// If it is false although there is a holder, a child of the noted process inherited the lock, or
  /// the holder is in another container.
  public var processIsRunning: Bool

  /// Makes a holder from its parts.
  public init(isAlive: Bool?, process: Int32? = nil, processIsRunning: Bool = false) {
    self.isAlive = isAlive
    self.process = process
    self.processIsRunning = processIsRunning
  }

  init(_ state: LockState) {
    isAlive = state.isHeld
    process = state.process
    processIsRunning = state.isRunning ?? false
  }

  /// The writer of a topic whose end was read.
  ///
  /// - Parameter before: the writer before the end was read. If there was none and the topic is
  ///   open, the lock is looked at again, because a writer may have opened the topic meanwhile.
  static func writer(
    in storage: any TopicStorage, before: LockHolder, _ ending: LogEnding
  ) -> LockHolder {
    guard ending == .open, before.isAlive == false else { return before }
    return LockHolder(storage.lockState())
  }
}
