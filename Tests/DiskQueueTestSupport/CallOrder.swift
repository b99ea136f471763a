// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

internal import DiskQueue

/// The first fault in the order in which a topic was made durable. Nil if there is none.
///
/// The rules:
///
/// 1. Nothing in a slab is synced before the directory was synced after the slab was made.
/// 2. Nothing in a new topic is synced before its parent directory was synced.
/// 3. Nothing at an address is synced before everything below it.
package func orderFault(in calls: [SimulatedStorage.Call]) -> String? {
  // For each slab, the lowest address that was written since its last sync.
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
      // The first slab of an epoch is synced before its name. No address in it is given out
      // earlier.
      if unnamed.contains(base), base & (1 << 40 - 1) != 0 {
        return "call \(index): slab \(base) is synced before its name"
      }
      if !isParentSynced { return "call \(index): the topic's own name is not durable" }
      for (lower, address) in written where lower < base {
        // Bytes past the next slab's base were refused, and are no part of this slab.
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
