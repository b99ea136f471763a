// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import FuzzSupport

// Slabs of version 1 in epoch 0, and slabs that may follow them.
runFuzzer { bytes, count in
  var input = Input(bytes, count)
  let probes = [UInt64(input.u8()), input.number(near: 128)]
  var slabs: [SlabImage] = []
  while !input.isEmpty, slabs.count < 6 {
    let kind = input.u8()
    let base = (slabs.last?.end ?? 0) &+ (kind & 0x40 == 0 ? 0 : input.i8())
    // Mostly with repaired checksums, by one reading of the length or the other.
    let repairs: SlabImage.Repairs =
      switch kind & 3 {
      case 0: []
      case 1, 2: .version1
      default: .version1Documented
      }
    if kind & 0x80 != 0 {
      // A writer of version 2 continued after them.
      slabs += SlabProgram.slabs(from: &input)
    } else {
      var slab = SlabImage(base: base, bytes: input.take(Int(input.u16())))
      slab.make(repairs)
      slabs.append(slab)
    }
  }
  var examination = Examination(of: slabs, probes: probes)
  examination.run()
  return 0
}
