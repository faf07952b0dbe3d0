/* What Go wants of bcryptprimitives.dll, for versions of Wine that have none. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T n) {
	while (n > 0) {
		ULONG k = n > 0x10000000 ? 0x10000000 : (ULONG)n;
		if (!SystemFunction036(data, k)) return FALSE;
		data += k;
		n -= k;
	}
	return TRUE;
}
