// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import DiskQueue

/// What is wrong with the order in which a topic was made durable; nil: nothing.
///
/// Nothing in a slab is synced before the directory was since the slab was made, nor in a new topic
/// before the directory that holds the topic was; nothing at an address is synced before everything
/// below it is.
package func orderFault(in calls: [SimulatedStorage.Call]) -> String? {
  // Of each slab, the lowest address that was written since it was synced.
  var written: [UInt64: UInt64] = [:]
  var made: Set<UInt64> = []
  var unnamed: Set<UInt64> = []
  var isParentSynced = calls.first { $0.isSync || $0 == .syncParent } != .syncParent
  for (index, call) in calls.enumerated() {
    switch call {
    case .create(let name):
      guard let base = SlabName.parse(name) else { continue }
      if base == 0, !calls[..<index].contains(.syncParent) { isParentSynced = false }
      unnamed.insert(base)
      made.insert(base)
    case .remove(let name):
      guard let base = SlabName.parse(name) else { continue }
      written[base] = nil
      unnamed.remove(base)
      made.remove(base)
    case .write(let name, let offset, _):
      if let base = SlabName.parse(name) {
        written[base] = min(written[base] ?? .max, base + offset)
      }
    case .syncDirectory:
      unnamed = []
    case .syncParent:
      isParentSynced = true
    case .sync(let name):
      guard let base = SlabName.parse(name) else { continue }
      // The first slab of an epoch is synced before its name is: no address is handed out before.
      if unnamed.contains(base), base & (1 << 40 - 1) != 0 {
        return "call \(index): slab \(base) is synced before its name"
      }
      if !isParentSynced { return "call \(index): the topic's own name is not durable" }
      for (lower, address) in written where lower < base {
        // What lies behind the next slab's base was refused, and is no part of this one.
        if made.contains(where: { $0 > lower && $0 <= address }) { continue }
        return "call \(index): slab \(base) is synced before \(address)"
      }
      written[base] = nil
    default:
      break
    }
  }
  return nil
}
