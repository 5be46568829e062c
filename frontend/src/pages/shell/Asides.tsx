// What every page may have beside it, seldom seen: uploads on their way, machines about to stop. Fetched after the page.

import { UploadPanel } from "../drive/UploadPanel";
import { IdleWarnings } from "../machines/IdleLine";
import { LeaseWarnings } from "../machines/LeaseWarnings";

export const MachineWarnings = () => (
  <>
    <LeaseWarnings />
    <IdleWarnings />
  </>
);

export const Uploads = UploadPanel;
