// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import CPeers
import Harness
import Report

/// Another store, through the calls that all peers share.
struct Peer {
  private let peer: UnsafePointer<cpeer>

  static func all() -> [Peer] {
    var peers: [Peer] = []
    var next = cpeers()
    while let peer = next.pointee {
      peers.append(Peer(peer: peer))
      next += 1
    }
    return peers
  }

  var name: String { String(cString: peer.pointee.name) }

  var description: Results.PeerDescription {
    Results.PeerDescription(
      name: name, version: String(cString: cpeers_version(peer)),
      settings: String(cString: peer.pointee.settings))
  }

  var syncs: Bool { peer.pointee.append_synced != nil }
  var scans: Bool { peer.pointee.scan != nil }

  func open(_ directory: String, isSynced: Bool = false) throws -> Store {
    guard let store = peer.pointee.open(directory, isSynced ? 1 : 0) else {
      throw failure("opening")
    }
    return Store(peer: self, store: store)
  }

  private func failure(_ doing: String) -> Failure {
    Failure("\(name): \(doing) failed: \(String(cString: cpeers_error()))")
  }

  /// How many times this process has asked the system to sync a file so far.
  static var syncs: UInt64 { cpeers_syncs() }

  struct Store {
    let peer: Peer
    fileprivate let store: UnsafeMutableRawPointer

    /// Appends records. The system has every byte when it returns.
    func append(_ payload: [UInt8], records: Int) throws {
      guard peer.peer.pointee.append(store, payload, UInt64(payload.count), UInt64(records)) == 0
      else { throw peer.failure("appending") }
    }

    func scan(copies: Bool, expecting bytes: Int) throws {
      guard let scan = peer.peer.pointee.scan else { throw peer.failure("reading") }
      let seen = scan(store, copies ? 1 : 0)
      guard seen >= 0 else { throw peer.failure("reading") }
      guard seen == bytes else {
        throw Failure("\(peer.name) read \(seen) of \(bytes) bytes")
      }
    }

    /// Appends and syncs records. Returns the time of each append in nanoseconds, and the seconds
    /// from the start of the first to the end of the last.
    func appendSynced(
      _ payload: [UInt8], threads: Int, each: Int
    ) throws -> (seconds: Double, times: [UInt64]) {
      var times = [UInt64](repeating: 0, count: threads * each)
      let nanoseconds = cpeers_append_synced(
        peer.peer, store, payload, UInt64(payload.count), UInt32(threads), UInt64(each), &times)
      guard nanoseconds >= 0 else { throw peer.failure("appending and syncing") }
      return (Double(nanoseconds) / 1e9, times)
    }

    func close() throws {
      guard peer.peer.pointee.close(store) == 0 else { throw peer.failure("closing") }
    }
  }
}
