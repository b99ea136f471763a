// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// Makes the files and directories of a topic on disk. Everything new in a topic is made here.
///
/// A new file or directory in an existing topic gets its owner and permissions from the topic,
/// whatever user and umask make it:
///
/// - A file has the permission bits of the newest slab. A lock has those of
///   `TopicPermissions.lock`.
/// - A directory has the permission bits of the topic's directory.
/// - If root makes it, it belongs to the owner and the group of the topic's directory.
///
/// Otherwise one command run by root would lock a service's user out of its own topic. A new topic
/// has the permissions that its options state, less the umask. The model of a new shard is the
/// directory of the shards. The model of a new topic `NAME.dead` is the topic `NAME` beside it.
///
/// Order, if the owner or the permissions differ from those that the system gives a new file:
/// 1. Make a file without a name.
/// 2. Set its owner, and then its permissions.
/// 3. Give it its name.
///
/// A directory is made under a name that begins with a dot, and then renamed. So after a crash, a
/// topic's names never lead to a file that the topic's user cannot open. On a file system without
/// unnamed files, or without /proc, a file gets its name first.
final class FileMaker: Sendable {
  /// The topic's directory.
  private let directory: Descriptor
  private let permissions: TopicPermissions
  /// The model of a topic without slabs, as a path from the topic's directory. Nil: it has none.
  private let model: String?
  /// The name of the newest slab, as far as this writer made it or has looked.
  private let newest = Mutex<String?>(nil)

  /// - Parameters:
  ///   - path: the topic's path. Only its last name counts.
  ///   - permissions: of new files and directories in a new topic.
  init(_ path: String, _ directory: Descriptor, _ permissions: TopicPermissions) {
    self.directory = directory
    self.permissions = permissions
    model = Self.model(ofTopic: Self.lastName(of: path)).map { "../" + $0 }
  }

  /// The owner and the permissions of a new file or directory.
  private struct Attributes {
    /// Set whatever the umask is. Nil: the permissions asked for, less the umask.
    var permissions: UInt16?
    /// Nil: the user and the group that the system gives it.
    var owner: Syscalls.Ownership?

    /// Whether the system gives a new file of this process this owner and these permissions anyway.
    var isPlain: Bool { owner == nil && (permissions ?? 0) & 0o077 == 0 }

    /// For a file or directory that has the same owner as `directory`.
    init(permissions: UInt16?, in directory: Syscalls.Ownership) {
      self.permissions = permissions
      let isOurs = directory.user == Syscalls.user && directory.group == Syscalls.group
      owner = Syscalls.user == 0 && !isOurs ? directory : nil
    }

    func apply(to descriptor: Int32) throws(SystemError) {
      if let owner { try Syscalls.setOwner(descriptor, user: owner.user, group: owner.group) }
      if let permissions { try Syscalls.setPermissions(descriptor, permissions) }
    }
  }

  // MARK: Files

  /// Makes an empty file, in the topic or in a directory of it. The name must be free (EEXIST).
  func makeFile(_ name: String, inDirectory place: Int32) throws(SystemError) -> Int32 {
    let inherited = try modelPermissions()
    let isLock = TopicLayout.isLock(name)
    func fitted(_ bits: UInt16) -> UInt16 { isLock ? TopicPermissions.lock(from: bits) : bits }
    let attributes = Attributes(
      permissions: inherited.map(fitted), in: try Syscalls.ownership(of: directory.number))
    let bits = attributes.permissions ?? fitted(permissions.files)
    let file =
      attributes.isPlain
      ? try Syscalls.createFile(
        inDirectory: place, name, exclusive: true, permissions: bits)
      : try Self.make(name, inDirectory: place, bits, attributes)
    if SlabName.parse(name) != nil { newest.withLock { $0 = name } }
    return file
  }

  private static func make(
    _ name: String, inDirectory place: Int32, _ bits: UInt16, _ attributes: Attributes
  ) throws(SystemError) -> Int32 {
    do throws(SystemError) {
      let file = try Syscalls.makeUnnamedFile(inDirectory: place, permissions: bits)
      do throws(SystemError) {
        try attributes.apply(to: file)
        try Syscalls.giveName(file, inDirectory: place, name)
        return file
      } catch {
        Syscalls.closeFile(file)
        throw error
      }
    } catch {
      // This file system has no unnamed files, or there is no /proc.
      guard [Errno.notSupported, Errno.noEntry].contains(error.errno) else { throw error }
    }
    let file = try Syscalls.createFile(
      inDirectory: place, name, exclusive: true, permissions: bits)
    do throws(SystemError) {
      try attributes.apply(to: file)
      return file
    } catch {
      Syscalls.closeFile(file)
      try Syscalls.remove(inDirectory: place, name)
      throw error
    }
  }

  /// The permissions of the newest slab, or of the model of a topic without slabs. Nil: there is no
  /// model.
  private func modelPermissions() throws(SystemError) -> UInt16? {
    if let name = newest.withLock({ $0 }), let bits = try filePermissions(name) { return bits }
    if let name = try Self.newestSlab(in: directory.number) {
      newest.withLock { $0 = name }
      if let bits = try filePermissions(name) { return bits }
    }
    if let bits = try filePermissions(TopicLayout.shardsName) { return bits }
    // The model need not exist, or be readable by this user. Then the options decide.
    guard let model, let place = try Self.modelTopic(model, in: directory.number) else {
      return nil
    }
    return place.files
  }

  private func filePermissions(_ path: String) throws(SystemError) -> UInt16? {
    try Syscalls.ownership(inDirectory: directory.number, path)?.permissions
  }

  /// The permissions and the owner that a model has. Nil if the directory holds no topic and no
  /// shards.
  private static func modelTopic(
    _ path: String, in directory: Int32
  ) throws(SystemError) -> (files: UInt16, directory: Syscalls.Ownership)? {
    do throws(SystemError) {
      let place = Descriptor(try Syscalls.openDirectory(inDirectory: directory, path))
      let names = [TopicLayout.shardsName, try newestSlab(in: place.number)].compactMap { $0 }
      for name in names {
        guard let file = try Syscalls.ownership(inDirectory: place.number, name) else { continue }
        return (file.permissions, try Syscalls.ownership(of: place.number))
      }
    } catch {
      // It does not exist, is no directory, or is not for this user. Then it is no model.
      let reasons = [
        Errno.noEntry, Errno.notDirectory, Errno.tooManyLinks, Errno.access, Errno.notPermitted,
      ]
      guard reasons.contains(error.errno) else { throw error }
    }
    return nil
  }

  private static func newestSlab(in place: Int32) throws(SystemError) -> String? {
    var newest: String?
    try Syscalls.forEachName(inDirectory: place) { name in
      // All names have the same length, so their order is that of their numbers.
      if SlabName.parse(name) != nil, name > newest ?? "" { newest = name }
    }
    return newest
  }

  // MARK: Directories

  /// Makes a directory in the topic's directory, with the same owner and permissions. EEXIST: it
  /// exists.
  func makeDirectory(_ name: String, inDirectory place: Int32) throws(SystemError) {
    let topic = try Syscalls.ownership(of: directory.number)
    try Self.makeDirectory(
      name, inDirectory: place, Attributes(permissions: topic.permissions, in: topic),
      topic.permissions)
  }

  /// Makes a topic's directory. EEXIST: it exists.
  ///
  /// - Parameter parent: the path of the directory that it is made in.
  static func makeTopic(
    _ path: String, in parent: String, _ permissions: TopicPermissions
  ) throws(SystemError) {
    let name = lastName(of: path)
    if let model = model(ofTopic: name) {
      let place = Descriptor(try Syscalls.openAncestor(parent))
      if let found = try modelTopic(model, in: place.number)?.directory {
        return try makeDirectory(
          name, inDirectory: place.number,
          Attributes(permissions: found.permissions, in: found), found.permissions)
      }
    }
    try Syscalls.makeDirectory(path, permissions: permissions.directories)
  }

  private static func makeDirectory(
    _ name: String, inDirectory place: Int32, _ attributes: Attributes, _ bits: UInt16
  ) throws(SystemError) {
    guard !attributes.isPlain else {
      return try Syscalls.makeDirectory(inDirectory: place, name, permissions: bits)
    }
    let unfinished = "." + name + ".new"
    do throws(SystemError) {
      try Syscalls.makeDirectory(inDirectory: place, unfinished, permissions: 0o700)
    } catch {
      // A crash has left it, or another process is making it as well. Both lead to the same result.
      guard error.errno == Errno.exists else { throw error }
    }
    do throws(SystemError) {
      let made = Descriptor(try Syscalls.openDirectory(inDirectory: place, unfinished))
      try attributes.apply(to: made.number)
      try Syscalls.renameFile(inDirectory: place, unfinished, to: name)
    } catch {
      // The other process was faster.
      guard error.errno != Errno.noEntry else {
        throw SystemError(errno: Errno.exists, call: "mkdirat")
      }
      do throws(SystemError) {
        try Syscalls.removeDirectory(inDirectory: place, unfinished)
      } catch {
        // It is empty and has a neutral name, so it does no harm.
      }
      throw error
    }
  }

  // MARK: Names

  private static func lastName(of path: String) -> String {
    String(path.split(separator: "/").last ?? "")
  }

  /// The model of a new topic of this name, as a path from the directory that holds the topic. It
  /// need not exist.
  private static func model(ofTopic name: String) -> String? {
    if ShardName.parse(name) != nil { return "." }
    let suffix = ".dead"
    guard name.hasSuffix(suffix), name.utf8.count > suffix.utf8.count else { return nil }
    return String(name.dropLast(suffix.count))
  }
}
