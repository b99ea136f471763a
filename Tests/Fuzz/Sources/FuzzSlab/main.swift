// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

import FuzzSupport

// Slabs of version 2: either files with a note of the parts to repair, or a program.
runFuzzer { bytes, count in
  var input = Input(bytes, count)
  let isProgram = input.u8() % 2 == 1
  let probes = [UInt64(input.u8()), input.number(near: 128)]
  let slabs = isProgram ? SlabProgram.slabs(from: &input) : SlabImage.all(from: &input)
  var examination = Examination(of: slabs, probes: probes)
  examination.run()
  return 0
}
