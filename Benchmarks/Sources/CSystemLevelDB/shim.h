// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

#pragma once
#include <leveldb/c.h>
