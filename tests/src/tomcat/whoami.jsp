<%@ page pageEncoding="UTF-8" %><%@ include file="/WEB-INF/visit.jspf" %><%
    response.setContentType("application/json");
%>{"version":"<%= version %>","backend":"<%= backend %>","session":"<%= visit.getId() %>","known":<%= known %>,"hits":<%= hits %>,"new":<%= visit.isNew() %>}
