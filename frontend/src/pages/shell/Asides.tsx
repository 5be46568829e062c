// What every page may have beside it, seldom seen: uploads on their way, machines about to stop. Fetched after the page.

import { UploadPanel } from "../drive/UploadPanel";

export { MachineWarnings } from "../machines/MachineWarnings";

export const Uploads = UploadPanel;
