// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

/// The note that the holder of a lock writes into the lock's file, for people: its process id and a
/// line end.
enum LockNote {
  /// Writes the note of this process into a lock that it has just acquired.
  static func write(to lock: any StorageLock) {
    let note = Array("\(Syscalls.processID)\n".utf8)
    do throws(SystemError) {
      try lock.file.truncate(to: 0)
      // Safe: the array outlives the call.
      _ = unsafe try lock.file.write(note.span.bytes, at: 0)
    } catch {
      // The process id is for people. A full disk must not keep a holder from opening.
    }
  }

  /// The process that last wrote its note into a lock's file. Nil if it cannot be read.
  static func process(in name: String, of directory: any StorageDirectory) -> Int32? {
    var bytes = [UInt8](repeating: 0, count: 16)
    do throws(SystemError) {
      let file = try directory.open(name, writable: false)
      let result: Result<Int, SystemError> = unsafe bytes.withUnsafeMutableBytes { target in
        do throws(SystemError) {
          return .success(unsafe try file.read(into: target, at: 0))
        } catch {
          return .failure(error)
        }
      }
      let digits = bytes.prefix(try result.get()).prefix { $0 != UInt8(ascii: "\n") }
      return Int32(String(decoding: digits, as: UTF8.self))
    } catch {
      // The note only names the holder, in a message that is complete without it.
      return nil
    }
  }

  /// The part of a message, in brackets, about the holder of a lock that could not be acquired.
  /// Empty if no process is noted.
  static func description(of name: String, in directory: any StorageDirectory) -> String {
    guard let process = process(in: name, of: directory) else { return "" }
    return Syscalls.isRunning(process)
      ? " (process \(process), which is running)"
      : " (not process \(process), which is noted in \(name) and is not running: another process"
        + " has locked the file)"
  }
}
