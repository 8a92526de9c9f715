// SPDX-License-Identifier: Apache-2.0
#include "tools/nbdkit_image.h"

#include "engine/io/posix_file.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace grainmill {
namespace {

TEST(NbdkitImage, TellsClientsThatTheDiskIsFull) {
  EXPECT_EQ(errno_of(os_error(ENOSPC, "disk.vmdk", "write")), ENOSPC);
  EXPECT_EQ(errno_of(os_error(EDQUOT, "disk.vmdk", "write")), ENOSPC);
  EXPECT_EQ(errno_of(os_error(EIO, "disk.vmdk", "write")), EIO);
}

TEST(NbdkitImage, TellsClientsMostOfAnError) {
  const auto number = [](ErrorKind kind) { return errno_of(Error{kind, "disk.vmdk", {}, "bad"}); };
  EXPECT_EQ(number(ErrorKind::busy), EBUSY);
  EXPECT_EQ(number(ErrorKind::denied), EPERM);
  EXPECT_EQ(number(ErrorKind::invalid_argument), EINVAL);
  EXPECT_EQ(number(ErrorKind::corrupt), EIO);
}

TEST(NbdkitImage, TakesEachParameterOnce) {
  NbdkitImage image(posix_file_system());
  EXPECT_FALSE(image.check_configured());
  EXPECT_TRUE(image.configure("file", "/disk.vmdk"));
  EXPECT_FALSE(image.configure("file", "/other.vmdk"));
  EXPECT_TRUE(image.configure("allow-dir", "/a"));
  EXPECT_TRUE(image.configure("allow-dir", "/b"));
  EXPECT_TRUE(image.configure("ignore-cid", "true"));
  EXPECT_FALSE(image.configure("ignore-cid", "1"));
  EXPECT_FALSE(image.configure("format", ""));
  EXPECT_FALSE(image.configure("nothing", "true"));
  EXPECT_TRUE(image.check_configured());
}

}  // namespace
}  // namespace grainmill
