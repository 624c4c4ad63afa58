# Finds nvcc and the CUDA toolkit that it belongs to, and compiles kernels with it.
#
# Sets cuda_toolkit, cuda_version and cuda_runtime (the static runtime library), or cuda_problem.
# nvcc may be a script that calls another one, so the toolkit is where nvcc says, not where it lies.
# Commands instead of CMake's CUDA language, which wants to link programs first: the wheels of the
# package index lack what that takes.

set(cuda_problem "no nvcc on PATH, in CUDA_HOME, /usr/local/cuda or the virtual environment")
set(nvcc "${RLMREC_FAST_NVCC}")
if(NOT nvcc)
  set(nvcc_places "$ENV{CUDA_HOME}/bin" "$ENV{CUDA_PATH}/bin")
  if(Python_EXECUTABLE)
    get_filename_component(environment "${Python_EXECUTABLE}" DIRECTORY)
    file(GLOB wheels "${environment}/../lib/python3*/site-packages/nvidia/cu13/bin")
    list(APPEND nvcc_places ${wheels})
  endif()
  find_program(RLMREC_FAST_FOUND_NVCC nvcc HINTS ${nvcc_places} PATHS /usr/local/cuda/bin NO_CACHE)
  set(nvcc "${RLMREC_FAST_FOUND_NVCC}")
endif()
if(nvcc)
  execute_process(COMMAND ${nvcc} --dryrun -x cu -c /dev/null
    OUTPUT_VARIABLE steps ERROR_VARIABLE steps RESULT_VARIABLE failed)
  execute_process(COMMAND ${nvcc} --version OUTPUT_VARIABLE report ERROR_VARIABLE report)
  string(REGEX MATCH "TOP=([^\n]+)" found "${steps}")
  get_filename_component(top "${CMAKE_MATCH_1}" REALPATH)
  string(REGEX MATCH "V([0-9]+\\.[0-9]+\\.[0-9]+)" found "${report}")
  set(cuda_version "${CMAKE_MATCH_1}")
  set(libraries "${top}/lib64" "${top}/lib" "${top}/targets/x86_64-linux/lib"
    "${top}/targets/sbsa-linux/lib")
  find_library(cuda_runtime cudart_static PATHS ${libraries} NO_DEFAULT_PATH NO_CACHE)
  find_path(cuda_include cuda_runtime_api.h
    PATHS "${top}/include" "${top}/targets/x86_64-linux/include" "${top}/targets/sbsa-linux/include"
    NO_DEFAULT_PATH NO_CACHE)
  if(NOT failed EQUAL 0 OR NOT cuda_version)
    set(cuda_problem "${nvcc} does not work")
  elseif(cuda_version VERSION_LESS 12.8)
    set(cuda_problem "nvcc must be 12.8 or newer (got ${cuda_version})")
  elseif(NOT cuda_runtime OR NOT cuda_include)
    set(cuda_problem "the toolkit in ${top} lacks libcudart_static.a or its headers")
  else()
    set(cuda_toolkit "${top}")
  endif()
endif()

# Adds the kernels to a library of the host compiler.
function(compile_cuda target sources)
  find_package(Threads REQUIRED)
  set(options -std=c++20 -O3 -I${CMAKE_SOURCE_DIR}/csrc --expt-relaxed-constexpr
    -ccbin ${CMAKE_CXX_COMPILER} -Werror all-warnings -Xcompiler -fPIC,-fvisibility=hidden,-Wall,-Wextra
    -Xptxas --warn-on-spills,--warn-on-local-memory-usage)
  foreach(architecture ${cuda_architectures})
    list(APPEND options -gencode arch=compute_${architecture},code=sm_${architecture})
  endforeach()
  # GPUs to come compile the newest one's PTX when they load it.
  list(GET cuda_architectures -1 newest)
  list(APPEND options -gencode arch=compute_${newest},code=compute_${newest})
  foreach(source ${sources})
    set(object ${CMAKE_BINARY_DIR}/${source}.o)
    get_filename_component(folder ${object} DIRECTORY)
    file(MAKE_DIRECTORY ${folder})
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${nvcc} ${options} -MD -MF ${object}.d -MT ${object} -c ${source} -o ${object}
      DEPENDS ${source} DEPFILE ${object}.d WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
      COMMENT "nvcc ${source}" VERBATIM)
    target_sources(${target} PRIVATE ${object})
  endforeach()
  target_include_directories(${target} SYSTEM PRIVATE ${cuda_include})
  # The runtime stays inside: torch brings another one, and neither must see the other.
  target_link_libraries(${target} PRIVATE ${cuda_runtime} Threads::Threads ${CMAKE_DL_LIBS} rt)
  target_link_options(${target} PRIVATE -Wl,--exclude-libs,libcudart_static.a)
endfunction()
