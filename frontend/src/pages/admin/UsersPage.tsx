// Who may come in and what they have to spend; operators grant points, administrators make users.

import { UserAddOutlined } from "../../widgets/icons";
import { Button, Input } from "antd";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { queries } from "../../api/queries";
import type { Me, User } from "../../api/shapes";
import { useWords } from "../../i18n";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { NotFoundPage } from "../shell/NotFoundPage";
import { useUrlState } from "../useUrlState";
import { CreateUserDialog } from "./CreateUserDialog";
import { GrantDialog } from "./GrantDialog";
import { SigninLinkDialog } from "./SigninLinkDialog";
import { useUserColumns } from "./useUserColumns";
import { DataTable } from "../../widgets/DataTable";

export function UsersPage() {
  const { data: me } = useQuery(queries.me());
  if (!me) return null;
  return me.role === "member" ? <NotFoundPage /> : <UsersView me={me} />;
}

function UsersView({ me }: { me: Me }) {
  const { text } = useWords();
  const words = text.users;
  const [read, write] = useUrlState();
  const [search, setSearch] = useState(read("search"));
  const [granted, setGranted] = useState<User | null>(null);
  const [linked, setLinked] = useState<User | null>(null);
  const [isCreating, setIsCreating] = useState(false);
  const page = Number(read("page")) || 1;
  const users = useQuery({
    ...queries.users({ search: read("search"), page, page_size: 25 }),
    placeholderData: keepPreviousData,
  });
  const columns = useUserColumns({ me, onGrant: setGranted, onLink: setLinked });
  return (
    <div className="page">
      <PageHead
        title={words.title}
        lead={words.lead}
        actions={
          me.can.administer && (
            <Button type="primary" icon={<UserAddOutlined />} onClick={() => setIsCreating(true)}>
              {words.create}
            </Button>
          )
        }
      />
      <div className="filters">
        <Input.Search
          allowClear
          style={{ maxWidth: 300 }}
          aria-label={words.search}
          placeholder={words.search}
          value={search}
          onChange={(event) => setSearch(event.target.value)}
          onSearch={(value) => write({ search: value.trim(), page: "" })}
        />
      </div>
      <div className="panel flush">
        <Loaded query={users}>
          {({ results, count, page_size }) => (
            <DataTable<User>
              rowKey="id"
              columns={columns}
              dataSource={results}
              locale={{ emptyText: <EmptyState title={words.empty} /> }}
              pagination={{
                current: page,
                pageSize: page_size,
                total: count,
                hideOnSinglePage: true,
                showSizeChanger: false,
                onChange: (value) => write({ page: value > 1 ? String(value) : "" }),
              }}
            />
          )}
        </Loaded>
      </div>
      <GrantDialog user={granted} onClose={() => setGranted(null)} />
      <SigninLinkDialog user={linked} onClose={() => setLinked(null)} />
      <CreateUserDialog
        isOpen={isCreating}
        onClose={() => setIsCreating(false)}
        onCreated={(user) => {
          setIsCreating(false);
          setLinked(user);
        }}
      />
    </div>
  );
}
