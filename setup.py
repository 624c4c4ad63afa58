"""Hands the build to CMake and packs what it installs.

Environment:
    RLMREC_FAST_BUILD_DIR   where CMake works (default: build/<python tag>)
    RLMREC_FAST_BUILD_TYPE  Release (default), RelWithDebInfo or Debug
    RLMREC_FAST_CUDA        auto (default: CUDA kernels where nvcc is found), on or off
    CMAKE_ARGS              further arguments for the configuration
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()


class CMakeBuild(build_ext):
    """Builds both native libraries with one CMake project."""

    def build_extension(self, ext: Extension) -> None:
        """Configures, builds and installs into the package's folder."""
        try:
            import torch
        except ImportError as error:
            raise SystemExit(
                "rlmrec_fast: building needs torch in this environment; install it, then build:\n"
                "    pip install torch==2.13.0 && pip install --no-build-isolation ."
            ) from error
        target = Path(self.get_ext_fullpath(ext.name)).parent.resolve()
        build = Path(
            os.environ.get("RLMREC_FAST_BUILD_DIR", ROOT / "build" / sys.implementation.cache_tag)
        )
        options = {
            "CMAKE_BUILD_TYPE": os.environ.get("RLMREC_FAST_BUILD_TYPE", "Release"),
            "CMAKE_INSTALL_PREFIX": target,
            "Python_EXECUTABLE": sys.executable,
            "RLMREC_FAST_CUDA": os.environ.get("RLMREC_FAST_CUDA", "auto"),
            "RLMREC_FAST_TORCH_DIR": Path(torch.__file__).parent,
            "RLMREC_FAST_TORCH_VERSION": torch.__version__,
        }
        arguments = [f"-D{name}={value}" for name, value in options.items()]
        arguments += shlex.split(os.environ.get("CMAKE_ARGS", ""))
        cmake = shutil.which("cmake") or "cmake"
        subprocess.run([cmake, "-S", ROOT, "-B", build, "-G", "Ninja", *arguments], check=True)
        subprocess.run([cmake, "--build", build], check=True)
        subprocess.run([cmake, "--install", build], check=True)

    def copy_extensions_to_source(self) -> None:
        """Brings what CMake installed beside the extension along into an editable install."""
        super().copy_extensions_to_source()
        built = Path(self.build_lib) / "rlmrec_fast"
        for path in [*built.glob("lib*.so"), built / "build_info.json"]:
            shutil.copy2(path, ROOT / "rlmrec_fast")


setup(ext_modules=[Extension("rlmrec_fast._native", [])], cmdclass={"build_ext": CMakeBuild})
