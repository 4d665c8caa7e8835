<%@ page pageEncoding="UTF-8" %><%@ include file="/WEB-INF/visit.jspf" %><%
    response.setContentType("text/html; charset=utf-8");
    response.setHeader("Cache-Control", "no-store");
%><!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<link rel="icon" href="data:,">
<title>shop <%= version %></title>
<h1><%= version %></h1>
<p>This version of the shop, on Tomcat, answered you.</p>
<p>backend <%= backend %>, session <code><%= visit.getId().substring(0, 8) %>…</code>,
   <%= hits %> requests in it, began <%= new java.util.Date(visit.getCreationTime()) %></p>
<form method="post" action="/clear">
  <button>Clear the cookie</button>
  <a href="/">Once more</a> · <a href="/whoami">as JSON</a>
</form>
</html>
