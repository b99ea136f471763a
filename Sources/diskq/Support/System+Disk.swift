// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Only this file, System.swift and the other System+….swift import the C library in the command.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

// The calls that measuring a disk needs: its own files and directories, free space, and syncs.
extension System {
  /// Makes a directory with a unique name that no other user may enter.
  static func makeUniqueDirectory(
    in parent: String, prefix: String
  ) throws(Failure) -> String {
    // mkdtemp(3) replaces the letters X.
    var path = Array("\(parent)/\(prefix)XXXXXX".utf8CString)
    guard mkdtemp(&path) != nil else { throw .system("making a directory here", parent) }
    return String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  static func makeDirectory(_ path: String) throws(Failure) {
    guard mkdir(path, 0o700) == 0 else { throw .system("making the directory", path) }
  }

  /// Removes a directory with everything in it. It follows no link.
  static func removeDirectory(_ path: String) throws(Failure) {
    var names: [String] = []
    try visitNames(in: path) {
      names.append($0)
      return true
    }
    for name in names {
      let entry = path + "/" + name
      var status = stat()
      if lstat(entry, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
        try removeDirectory(entry)
      } else {
        try removeFile(entry)
      }
    }
    guard rmdir(path) == 0 else { throw .system("removing the directory", path) }
  }

  static func removeFile(_ path: String) throws(Failure) {
    guard unlink(path) == 0 || errno == ENOENT else { throw .system("removing the file", path) }
  }

  /// Makes a file for writing. The file must not exist yet.
  static func makeFile(_ path: String) throws(Failure) -> Int32 {
    while true {
      let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
      if descriptor >= 0 { return descriptor }
      guard errno == EINTR else { throw .system("making the file", path) }
    }
  }

  /// Puts the bytes of a file on stable storage, like the library.
  static func syncData(_ descriptor: Int32, name: String) throws(Failure) {
    while true {
      #if canImport(Darwin)
        // fsync(2) on Darwin does not empty the drive's own cache.
        let code = fcntl(descriptor, F_FULLFSYNC)
      #else
        let code = fdatasync(descriptor)
      #endif
      if code != -1 { return }
      guard errno == EINTR else { throw .system("syncing", name) }
    }
  }

  /// How many bytes this user may still write on the disk of a directory.
  static func room(in directory: String) throws(Failure) -> UInt64 {
    var status = statvfs()
    while statvfs(directory, &status) != 0 {
      guard errno == EINTR else { throw .system("reading the free space of the disk", directory) }
    }
    let (bytes, overflow) = UInt64(status.f_bavail)
      .multipliedReportingOverflow(by: UInt64(status.f_frsize))
    return overflow ? .max : bytes
  }

  /// The kind of file system of a directory, or nil if it cannot be found out.
  static func fileSystem(of directory: String) -> String? {
    #if os(Linux)
      var status = stat()
      guard stat(directory, &status) == 0,
        let mounts = try? contents(of: "/proc/self/mountinfo")
      else { return nil }
      // The inverse of makedev(3).
      let device = UInt64(status.st_dev)
      let major = (device >> 8 & 0xFFF) | (device >> 32 & ~0xFFF)
      let minor = (device & 0xFF) | (device >> 12 & ~0xFF)
      return Mounts.fileSystem(ofDevice: "\(major):\(minor)", in: mounts)
    #else
      return nil
    #endif
  }

  private static func contents(of path: String) throws(Failure) -> String {
    let descriptor = try openForReading(path)
    defer { closeFile(descriptor) }
    var bytes: [UInt8] = []
    let part = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 14, alignment: 1)
    defer { part.deallocate() }
    while true {
      guard let count = try read(descriptor, into: part, name: path) else { continue }
      if count == 0 { return String(decoding: bytes, as: UTF8.self) }
      bytes += part[..<count]
    }
  }
}

/// The mounted file systems, in the format of proc_pid_mountinfo(5).
enum Mounts {
  /// The kind of the file system on a device, or nil if `text` does not list the device.
  ///
  /// - Parameters:
  ///   - device: its major and minor number, with a colon between.
  ///   - text: the lines of a `mountinfo` file.
  static func fileSystem(ofDevice device: String, in text: String) -> String? {
    for line in text.split(separator: "\n") {
      let fields = line.split(separator: " ")
      // After the sixth field come any number of optional ones, up to a dash.
      guard fields.count > 2, fields[2] == device,
        let dash = fields.dropFirst(6).firstIndex(of: "-"),
        dash + 1 < fields.count
      else { continue }
      return String(fields[dash + 1])
    }
    return nil
  }
}
